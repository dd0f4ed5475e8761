"""Metrics wait here and are written in batches, so that logging stays off the training step."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

_BATCH = 1000  # metrics that MLflow takes in one call
_REFUSED = re.compile(r"[^\w./: -]")


class MetricBuffer:
    """Collect metrics of one run and write them every few seconds.

    When the store refuses, the metrics stay here and are tried again at the next flush; writing
    one twice does no harm, since MLflow keeps one row per name, step, time and value.

    Args:
        client: Client of the run's store.
        run_id: The run.
        flush_seconds: Longest wait before a write, seconds.
    """

    def __init__(self, client: MlflowClient, run_id: str, flush_seconds: float) -> None:
        self._client = client
        self._run_id = run_id
        self._flush_seconds = flush_seconds
        self._waiting: list[Metric] = []
        self._last_flush = time.monotonic()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep the metrics, and write what waits when it has waited long enough.

        Args:
            metrics: Names and values; characters that MLflow refuses in a name become ``_``.
            step: Step of the run that they belong to.
        """
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        self._waiting += [
            Metric(_REFUSED.sub("_", name), float(value), now_ms, step)
            for name, value in metrics.items()
        ]
        if time.monotonic() - self._last_flush >= self._flush_seconds:
            self.try_flush()

    def try_flush(self) -> None:
        """Write what waits; when the store refuses, warn and keep it for the next time."""
        from mlflow.exceptions import MlflowException

        try:
            self.flush()
        except MlflowException as error:
            self._last_flush = time.monotonic()
            log.warning(
                "%d metrics wait for the tracking store, which refused them: %s",
                len(self),
                error,
            )

    def flush(self) -> None:
        """Write everything that waits.

        Raises:
            MlflowException: If the store refuses; what was not written is kept.
        """
        while self._waiting:
            batch = self._waiting[:_BATCH]
            self._client.log_batch(self._run_id, metrics=batch)
            del self._waiting[: len(batch)]
        self._last_flush = time.monotonic()
