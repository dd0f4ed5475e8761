"""From jobs to points: one row per setting, with seeds folded into means and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
from hyperspec.report.best_control import Control, best_control
from hyperspec.report.cohorts import divide, objective_name
from hyperspec.report.load import SweepData, unit_of
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
    groups = jobs.groupby(keys, dropna=False)
    points = [_point(data, group, extra_names, part) for _, group in groups]
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
        majority=_mean(jobs, f"{part}/majority_share"),
        unit=data.unit,
    )


def _point(data: SweepData, jobs: pd.DataFrame, extra_names: tuple[str, ...], part: str) -> Point:
    first = jobs.iloc[0]
    num_seeds = int(jobs["seed"].nunique()) if jobs["seed"].notna().any() else 1
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
        strategy=str(first["strategy"]),
        n=0 if np.isnan(first["n"]) else int(first["n"]),
        extra={k: v for k in extra_names if isinstance(v := first[f"params.{k}"], str)},
        num_seeds=num_seeds,
        run_ids=tuple(jobs["run_id"]),
        objective=_mean(jobs, MetricName.OBJECTIVE),
        scores=scores,
        controls=controls,
        seconds=float(jobs["seconds"].mean()),
        balanced={key: value for key, value in balanced.items() if not math.isnan(value)},
    )


def _own_score(jobs: pd.DataFrame, metric: str) -> Score | None:
    """Return the mean over jobs, with the mean of the intervals that the jobs logged."""
    mean = _mean(jobs, metric)
    if math.isnan(mean):
        return None
    low, high = _mean(jobs, f"{metric}_low"), _mean(jobs, f"{metric}_high")
    return Score(mean, low, high, "none" if math.isnan(low) else "specimens")


def _mean(jobs: pd.DataFrame, metric: str) -> float:
    column = f"metrics.{metric}"
    return float(jobs[column].mean()) if column in jobs else float("nan")


def _pooled(data: SweepData, jobs: pd.DataFrame, metric: Metric) -> Score | None:
    """Return mean and interval over all jobs' predictions; None where a job has none.

    The test parts of a seed's rotations are one row; the rotation of a specimen is told on, unless
    seeds are dealt otherwise each.
    """
    column = metric.correct
    tables = []
    rotations = jobs["rotation"] if "rotation" in jobs else np.full(len(jobs), np.nan)
    for run_id, seed, rotation in zip(jobs["run_id"], jobs["seed"], rotations, strict=True):
        table = data.predictions(run_id)
        if table is None or column not in table:
            return None
        known = table[["file", column]].astype({column: float}).assign(unit=unit_of(table))
        tables.append(known.assign(seed=-1.0 if math.isnan(seed) else seed, rotation=rotation))
    every = pd.concat(tables)
    values = every.pivot_table(index="seed", columns="file", values=column, aggfunc="mean")
    units = every.groupby("file")["unit"].first()[values.columns]
    folds = None
    dealt = every.groupby("unit")["rotation"]
    if every["rotation"].notna().all() and (dealt.nunique() == 1).all():
        folds = dealt.first()[units].astype(int).to_numpy()
    found = mean_interval(values.to_numpy(), units.to_list(), folds=folds, binary=True)
    kind: IntervalKind = "seeds and specimens" if found.over_seeds else "specimens"
    kind = "none" if math.isnan(found.low) else kind
    return Score(found.mean, found.low, found.high, kind, found.num_groups)


def _chance(jobs: pd.DataFrame) -> float:
    """Return the accuracy of guessing, 1 / classes, when all jobs agree on the classes."""
    counts = jobs["num_classes"].dropna().unique()
    return 1 / float(counts[0]) if len(counts) == 1 and counts[0] > 1 else float("nan")
