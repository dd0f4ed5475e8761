"""Whether frozen features tell a confounder, such as the session of the scan."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from hyperspec.evaluation.embeddings import Held
from hyperspec.evaluation.scores import evaluate_features

PREFIX = "confounder/"
_PROBE, _METRIC = "knn", "knn_top1"


@dataclass(frozen=True)
class ConfounderProbe:
    """What a probe of one column found.

    Args:
        column: The column.
        metrics: ``confounder/<column>_knn_top1`` with ``_low`` and ``_high`` ends of its 95%
            interval, and ``confounder/<column>_chance``; empty where it cannot be probed.
        num_images: Test images that were scored: those whose value occurs in the training part.
        reason: Why it cannot be probed; else empty.
    """

    column: str
    metrics: Mapping[str, float]
    num_images: int = 0
    reason: str = ""


def metric_name(column: str, what: str = _METRIC) -> str:
    """Return a metric of a column's probe; what MLflow takes in no name becomes ``_``."""
    return f"{PREFIX}{re.sub(r'[^A-Za-z0-9_. -]', '_', column)}_{what}"


def probe_confounder(
    column: str,
    train: Held,
    test: Held,
    values: tuple[Sequence[str | None], Sequence[str | None]],
    *,
    k: int,
) -> ConfounderProbe:
    """Name each test row's value of a column by its k nearest training rows.

    Values that the training part lacks cannot be named and are not scored. Chance is the share of
    the most common value among the rows that are.

    Args:
        column: The column.
        train: Features of the training part.
        test: Features of the test part.
        values: The column in both parts, ``(M,)`` and ``(N,)``; None where unknown.
        k: Neighbours.
    """
    known = Counter(value for value in values[0] if value is not None)
    scored = [value if value in known else None for value in values[1]]
    counts = Counter(value for value in scored if value is not None)
    reason = ""
    if len(known) < 2:
        reason = f"the training part has {len(known)} value{'s' * (len(known) != 1)} of it"
    elif not counts:
        reason = "no value of the test part occurs in the training part"
    elif known.total() < k:
        reason = f"{known.total()} training images have a value, fewer than evaluation.k={k}"
    if reason:
        return ConfounderProbe(column, {}, reason=reason)
    parts = {"train": replace(train, labels=values[0]), "test": replace(test, labels=scored)}
    prefix = metric_name(column, "")
    found = evaluate_features(parts, [_PROBE], k=k, prefixes={"test": prefix})
    metrics = {
        name: value for name, value in found.metrics.items() if name.startswith(prefix + _METRIC)
    }
    metrics[metric_name(column, "chance")] = max(counts.values()) / counts.total()
    return ConfounderProbe(column, metrics, counts.total())


def probe_table(probes: Sequence[ConfounderProbe]) -> pd.DataFrame:
    """Return one row per column: column, accuracy, low, high, chance, images, reason."""
    ends = {"accuracy": _METRIC, "low": f"{_METRIC}_low", "high": f"{_METRIC}_high"}
    ends["chance"] = "chance"
    return pd.DataFrame(
        {
            "column": one.column,
            **{key: one.metrics.get(metric_name(one.column, name)) for key, name in ends.items()},
            "images": one.num_images,
            "reason": one.reason,
        }
        for one in probes
    )
