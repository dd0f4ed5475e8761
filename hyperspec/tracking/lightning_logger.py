"""The bridge from Lightning's ``self.log`` to a run."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from hyperspec.tracking.names import flatten
from hyperspec.tracking.run import JobRun


class RunLogger(Logger):
    """Send Lightning's metrics to a :class:`JobRun` in batches.

    It never ends the run: evaluation follows the fit, and the run's own context closes it.
    """

    def __init__(self, run: JobRun) -> None:
        super().__init__()
        self.run = run

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.run.connection.experiment

    @property
    def version(self) -> str:
        """Identity of the run."""
        return self.run.run_id

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep metrics for the run's next batch."""
        self.run.log_metrics(metrics, step or 0)

    @rank_zero_only
    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Log hyperparameters under their dotted names."""
        self.run.log_params(flatten(vars(params) if isinstance(params, Namespace) else params))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Put what was logged on the disk at the end of a fit, also of a failed one."""
        self.run.secure()
