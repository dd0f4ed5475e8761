"""What a sweep varied, as columns of numbers and of words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hyperspec.evaluation.metrics import natural_direction
from hyperspec.evaluation.statistics.variance import Floats
from hyperspec.report.charts.style import words
from hyperspec.report.load import SweepData
from hyperspec.report.summary import Point, Summary, setting_text

# The two that a contrastive study asks for first; then by name, and the number of bands last.
_FIRST = ("loss.temperature", "lr")
NUM_BANDS = "n"
STRATEGY = "strategy"


@dataclass(frozen=True, eq=False)
class Column:
    """One varied setting over all points.

    Args:
        name: Its key, such as ``loss.temperature``.
        texts: Value of each point as text; ``-`` where the point has none.
        numbers: The same as numbers, ``(N,)``; None when some is no number.
    """

    name: str
    texts: tuple[str, ...]
    numbers: Floats | None

    @property
    def label(self) -> str:
        """Its name for readers."""
        return words(self.name)

    @property
    def num_values(self) -> int:
        """How many different values there are."""
        return len(set(self.texts))


def columns(summary: Summary) -> dict[str, Column]:
    """Return what varies over the points, strategy and bands included, by key."""
    points = summary.points
    found = [
        _column(STRATEGY, [point.strategy for point in points]),
        _column(NUM_BANDS, [str(point.n) if point.n else "-" for point in points]),
        *(_column(k, [point.extra.get(k, "-") for point in points]) for k in summary.extra_names),
    ]
    return {column.name: column for column in found if column.num_values > 1}


def numeric(found: Mapping[str, Column]) -> list[str]:
    """Return the keys whose values are all numbers, those of most interest first."""
    keys = [key for key, column in found.items() if column.numbers is not None]
    return sorted(keys, key=lambda key: (_place(key), key))


def label(point: Point) -> str:
    """Return a point as a reader calls it, such as ``uniform, 20 bands, lr=0.01``."""
    bands = "1 band" if point.n == 1 else f"{point.n} bands"
    extra = (f"{key.split('.')[-1]}={setting_text(v)}" for key, v in point.extra.items())
    return ", ".join([point.strategy, bands, *extra])


def objective(summary: Summary) -> Floats:
    """Return the objective of each point, ``(N,)``; NaN where it has none."""
    return np.array([point.objective for point in summary.points], dtype=np.float64)


def less_is_better(summary: Summary) -> bool:
    """Say whether the objective is a loss, or a cost."""
    return natural_direction(summary.objective_name) == "minimize"


def _place(key: str) -> int:
    if key in _FIRST:
        return _FIRST.index(key)
    return len(_FIRST) + (key == NUM_BANDS)


def _column(name: str, texts: list[str]) -> Column:
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        return Column(name, tuple(texts), None)
    return Column(name, tuple(texts), numbers if np.isfinite(numbers).all() else None)


def metric(data: SweepData, summary: Summary, name: str) -> Floats:
    """Return the mean of a metric over the jobs of each point, ``(N,)``; NaN where unknown."""
    column = f"metrics.{name}"
    if column not in data.jobs:
        return np.full(len(summary.points), np.nan)
    values = dict(zip(data.jobs["run_id"], data.jobs[column], strict=True))
    means = []
    for point in summary.points:
        known = [value for run in point.run_ids if math.isfinite(value := float(values[run]))]
        means.append(sum(known) / len(known) if known else math.nan)
    return np.array(means, dtype=np.float64)
