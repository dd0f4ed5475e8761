"""From jobs to points: one row per setting, with seeds folded into means and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from hyperspec.evaluation.metrics import (
    CONTROLS,
    METRICS,
    Metric,
    columns,
    control_metric,
    natural_direction,
)
from hyperspec.evaluation.statistics.intervals import MIN_SPECIMENS, mean_interval
from hyperspec.evaluation.statistics.variance import Ints
from hyperspec.report.best_control import Control, best_control
from hyperspec.report.cohorts import divide, objective_name
from hyperspec.report.load import SweepData
from hyperspec.report.prediction_rows import Judged
from hyperspec.report.variants import settings
from hyperspec.tracking.contract import MetricName

_LONG = 7  # characters from which a number is written shorter


def setting_text(value: str) -> str:
    """Return a setting's value for a reader; numbers that a search drew with four digits."""
    try:
        return f"{float(value):.4g}" if len(value) > _LONG and "." in value else value
    except ValueError:
        return value


IntervalKind = Literal["seeds and specimens", "specimens", "none"]


@dataclass(frozen=True)
class Score:
    """A mean with the ends of its 95% interval (NaN where there is none).

    ``num_specimens`` are those tested, 0 where the single predictions are not there to count.
    """

    mean: float
    low: float
    high: float
    kind: IntervalKind
    num_specimens: int = 0

    @property
    def has_few(self) -> bool:
        """Whether so few specimens were tested that the number says little."""
        return 0 < self.num_specimens < MIN_SPECIMENS


@dataclass(frozen=True)
class Point:
    """One setting of a sweep, over its seeds."""

    strategy: str
    n: int
    extra: Mapping[str, str]
    num_seeds: int
    run_ids: tuple[str, ...]
    objective: float
    scores: Mapping[str, Score]
    """By key of the metric: ``knn``, ``linear``."""
    controls: Mapping[tuple[str, str], Score]
    """By control and key: ``("untrained", "knn")``; a classifier's is the same for every key."""
    seconds: float
    balanced: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Balanced accuracy by control, empty for the encoder, and key."""


@dataclass(frozen=True)
class Summary:
    """The points of one or several sweeps, best objective first."""

    points: tuple[Point, ...]
    extra_names: tuple[str, ...]
    objective_name: str
    part: str
    chance: float
    num_seeds: int
    """Fewest seeds of a point."""
    control: Control | None = None
    """The control that validation likes best."""
    majority: float = float("nan")
    """Share of the most frequent label of the part: what naming it blindly reaches."""
    unit: str = "specimen"
    """What was sampled, as :attr:`hyperspec.report.load.SweepData.unit`."""

    @property
    def columns(self) -> list[Metric]:
        """Metrics of the table that at least one point was scored with."""
        return [row for row in columns() if any(row.key in p.scores for p in self.points)]

    @property
    def accuracies(self) -> list[Metric]:
        """Those of them that are accuracies."""
        return [row for row in self.columns if row.is_accuracy]


def summarise(data: SweepData) -> Summary:
    """Fold the finished jobs of one cohort into points, ranked by the objective.

    Raises:
        ValueError: If the jobs may not be ranked with each other.
    """
    if len(found := divide(data)) > 1:
        raise ValueError(f"{len(found)} cohorts: {'; '.join(one.title for one in found)}")
    jobs = data.finished
    extra_names = settings(jobs)
    tested = any(f"metrics.test/{row.name}" in jobs for row in columns())
    part = "test" if tested and not jobs.empty else "val"
    name = objective_name(jobs)
    keys = ["strategy", "n", *(f"params.{name}" for name in extra_names)]
    places = jobs.groupby(keys, dropna=False).ngroup().to_numpy()
    table = _Jobs(jobs)
    points = [
        _point(data, table.take(np.flatnonzero(places == place)), extra_names, part)
        for place in range(places.max(initial=-1) + 1)
    ]
    sign = 1.0 if natural_direction(name) == "minimize" else -1.0
    points.sort(key=lambda p: (math.isnan(p.objective), sign * p.objective, p.n, p.strategy))
    return Summary(
        points=tuple(points),
        extra_names=extra_names,
        objective_name=name,
        part=part,
        chance=_chance(jobs),
        num_seeds=min((p.num_seeds for p in points), default=0),
        control=best_control(data),
        majority=_mean(table, f"{part}/majority_share"),
        unit=data.unit,
    )


class _Jobs:
    """Some rows of a table of jobs, by column: of hundreds of columns a point needs a few."""

    def __init__(
        self, jobs: pd.DataFrame, known: dict[str, Any] | None = None, rows: Ints | None = None
    ) -> None:
        self._jobs, self._known, self._rows = jobs, {} if known is None else known, rows

    def take(self, rows: Ints) -> _Jobs:
        """Return some rows; columns that were looked up are kept for all."""
        return _Jobs(self._jobs, self._known, rows)

    def __contains__(self, column: str) -> bool:
        return column in self._jobs

    def __getitem__(self, column: str) -> Any:
        """Return a column's values, an array."""
        if column not in self._known:
            self._known[column] = self._jobs[column].to_numpy()
        found = self._known[column]
        return found if self._rows is None else found[self._rows]

    def mean(self, column: str) -> float:
        """Return the mean of a column's numbers; NaN without any."""
        if column not in self:
            return math.nan
        values = self[column]
        seen = ~np.isnan(values)
        return float(np.where(seen, values, 0.0).sum() / seen.sum()) if seen.any() else math.nan


def _point(data: SweepData, jobs: _Jobs, extra_names: tuple[str, ...], part: str) -> Point:
    strategy, n = jobs["strategy"][0], jobs["n"][0]
    seeds = {seed for seed in jobs["seed"].tolist() if not math.isnan(seed)}
    scores, controls, balanced = {}, {}, {}
    for row in columns():
        score = _own_score(jobs, f"{part}/{row.name}")
        if score is not None:
            pooled = _pooled(data, jobs, row) if part == "test" and row.is_accuracy else None
            scores[row.key] = pooled or score
        even = METRICS.get(f"{row.evaluator}_balanced")
        if even is not None:
            balanced["", row.key] = _mean(jobs, f"{part}/{even.name}")
        for control in CONTROLS:
            beside = _own_score(jobs, control_metric(control, row))
            if beside is not None:
                controls[control, row.key] = beside
                if even is not None:
                    balanced[control, row.key] = _mean(jobs, control_metric(control, even))
    return Point(
        strategy=str(strategy),
        n=0 if np.isnan(n) else int(n),
        extra={k: v for k in extra_names if isinstance(v := jobs[f"params.{k}"][0], str)},
        num_seeds=len(seeds) or 1,
        run_ids=tuple(jobs["run_id"]),
        objective=_mean(jobs, MetricName.OBJECTIVE),
        scores=scores,
        controls=controls,
        seconds=jobs.mean("seconds"),
        balanced={key: value for key, value in balanced.items() if not math.isnan(value)},
    )


def _own_score(jobs: _Jobs, metric: str) -> Score | None:
    """Return the mean over jobs, with the mean of the intervals that the jobs logged."""
    mean = _mean(jobs, metric)
    if math.isnan(mean):
        return None
    low, high = _mean(jobs, f"{metric}_low"), _mean(jobs, f"{metric}_high")
    return Score(mean, low, high, "none" if math.isnan(low) else "specimens")


def _mean(jobs: _Jobs, metric: str) -> float:
    return jobs.mean(f"metrics.{metric}")


def _pooled(data: SweepData, jobs: _Jobs, metric: Metric) -> Score | None:
    """Return mean and interval over all jobs' predictions; None where a job has none.

    The test parts of a seed's rotations are one row; the rotation of a specimen is told on, unless
    seeds are dealt otherwise each.
    """
    column, run_ids = metric.correct, jobs["run_id"]
    tables = [data.judged(run_id) for run_id in run_ids]
    said = [table for table in tables if table is not None and column in table.right]
    if len(said) < len(run_ids):
        return None
    seeds = np.nan_to_num(jobs["seed"].astype(float), nan=-1.0)
    places = {seed: place for place, seed in enumerate(np.unique(seeds).tolist())}
    files: dict[str, int] = {}
    units: list[str] = []
    for table in said:
        for file, unit in zip(table.files, table.units, strict=True):
            if file not in files:
                files[file] = len(units)
                units.append(unit)
    shape = (len(places), len(units))
    sums, counts = np.zeros(shape), np.zeros(shape)
    for seed, table in zip(seeds.tolist(), said, strict=True):
        columns, right = [files[file] for file in table.files], table.right[column]
        seen = ~np.isnan(right)
        np.add.at(sums[places[seed]], columns, np.where(seen, right, 0.0))
        np.add.at(counts[places[seed]], columns, seen)
    values = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    folds = _folds(jobs, said, units)
    found = mean_interval(values, units, folds=folds, binary=True)
    kind: IntervalKind = "seeds and specimens" if found.over_seeds else "specimens"
    kind = "none" if math.isnan(found.low) else kind
    return Score(found.mean, found.low, found.high, kind, found.num_groups)


def _folds(jobs: _Jobs, said: Sequence[Judged], units: Sequence[str]) -> Ints | None:
    """Return which rotation tested each row's unit; None without, or where a unit has several."""
    rotations = jobs["rotation"].tolist() if "rotation" in jobs else [math.nan] * len(said)
    found: dict[str, float] = {}
    for rotation, table in zip(rotations, said, strict=True):
        for unit in set(table.units):
            # No rotation is unlike any, itself included.
            if found.setdefault(unit, rotation) != rotation:
                return None
    return np.array([found[unit] for unit in units]).astype(int)


def _chance(jobs: pd.DataFrame) -> float:
    """Return the accuracy of guessing, 1 / classes, when all jobs agree on the classes."""
    counts = jobs["num_classes"].dropna().unique()
    return 1 / float(counts[0]) if len(counts) == 1 and counts[0] > 1 else float("nan")
