"""What several runs said of the same test images, laid side by side: seeds × files."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd

from hyperspec.evaluation.metrics import CONTROLS, control_metric, main_accuracy
from hyperspec.evaluation.statistics.paired import Equivalence, equivalence_test
from hyperspec.evaluation.statistics.variance import Floats
from hyperspec.report.load import SweepData, unit_of
from hyperspec.report.summary import Point
from hyperspec.tracking.contract import Param

BySeed: TypeAlias = dict[float, Floats]
MIN_SHARED = 2  # seeds; of one, a difference over seeds has no interval


@dataclass
class Pairs:
    """Reads each run's predictions once and pairs them by seed and file.

    The files of a seed's rotations are one row, in which each specimen stands once.
    """

    data: SweepData
    margin: float
    _seen: dict[tuple[str, ...], BySeed] = field(default_factory=dict)
    _files: dict[str, int] = field(default_factory=dict)
    _units: list[str] = field(default_factory=list)
    _folds: dict[str, float] = field(default_factory=dict)
    _mixed: bool = False
    _seeds: dict[str, float] = field(init=False)
    _rotations: dict[str, float] = field(init=False)
    _jobs: pd.DataFrame = field(init=False)
    _total: int | None = field(init=False)
    _means: dict[tuple[tuple[str, ...], str], pd.Series[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        jobs = self.data.jobs
        self._seeds = dict(zip(jobs["run_id"], jobs["seed"].astype(float), strict=True))
        rotations = jobs["rotation"] if "rotation" in jobs else np.full(len(jobs), np.nan)
        self._rotations = dict(zip(jobs["run_id"], rotations, strict=True))
        # Hundreds of points are looked up: not in a table of hundreds of columns.
        scores = [_score(), *map(_score, CONTROLS)]
        self._jobs = jobs[["run_id", "seed", *(c for c in scores if c in jobs)]].set_index("run_id")
        # How many groups the folder holds is not logged.
        self._total = _total_specimens(jobs) if self.data.unit == "specimen" else None

    def test(self, point: Point, reference: Point) -> Equivalence | None:
        """Return the comparison; None with fewer than two seeds that share test specimens."""
        column = main_accuracy().correct
        return self._compare(self._correct(point, column), self._correct(reference, column))

    def control_test(self, point: Point, column: str, control: str) -> Equivalence | None:
        """Return the comparison of a setting with what its own runs logged of a control.

        Args:
            point: The setting.
            column: Of the test predictions, which rows it named rightly.
            control: The same of the control predictions.
        """
        return self._compare(self._correct(point, column), self._correct(point, control, True))

    def scores(self, point: Point, control: str = "") -> pd.Series[float]:
        """Return the logged score of each seed, the mean over its rotations."""
        column = _score(control)
        key = (point.run_ids, column)
        if key not in self._means:
            if column not in self._jobs:
                return pd.Series(dtype=float)
            self._means[key] = self._jobs.loc[list(point.run_ids)].groupby("seed")[column].mean()
        return self._means[key]

    def is_incomplete(self, point: Point) -> bool:
        """Say whether a seed of a setting lacks a rotation that other jobs have."""
        every = {r for r in self._rotations.values() if not math.isnan(r)}
        found: dict[float, set[float]] = {}
        for run_id in point.run_ids:
            found.setdefault(self._seeds[run_id], set()).add(self._rotations[run_id])
        return bool(every) and any(own != every for own in found.values())

    def _compare(self, first: BySeed, second: BySeed) -> Equivalence | None:
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            return None
        scores, others = (
            np.stack([_padded(table[seed], len(self._units)) for seed in seeds])
            for table in (first, second)
        )
        seen = ~(np.isnan(scores) | np.isnan(others))
        kept, rows = seen.any(1), seen.any(0)
        if kept.sum() < MIN_SHARED:
            return None
        groups = np.asarray(self._units)[rows]
        folds = None
        if self._folds and not self._mixed:
            folds = np.asarray([self._folds.get(name, -1.0) for name in groups]).astype(int)
        test = equivalence_test(
            np.where(seen, scores, np.nan)[kept][:, rows],
            np.where(seen, others, np.nan)[kept][:, rows],
            groups,
            margin=self.margin,
            folds=folds,
            total_specimens=self._total,
        )
        return dataclasses.replace(test, unit=self.data.unit)

    def _correct(self, point: Point, column: str, of_control: bool = False) -> BySeed:
        """Return per seed whether each file was right, 0 to 1, in the order of all files."""
        key = (column, str(of_control), *point.run_ids)
        if key not in self._seen:
            read = self.data.control_predictions if of_control else self.data.predictions
            tables: dict[float, list[pd.DataFrame]] = {}
            for run_id in point.run_ids:
                seed, table = self._seeds[run_id], read(run_id)
                if table is not None and column in table and not math.isnan(seed):
                    self._note_fold(run_id, table)
                    tables.setdefault(seed, []).append(table)
            self._seen[key] = {seed: self._mean(found, column) for seed, found in tables.items()}
        return self._seen[key]

    def _note_fold(self, run_id: str, table: pd.DataFrame) -> None:
        """Keep which rotation tested a specimen, or a group; with a deal per seed there is none."""
        rotation = self._rotations[run_id]
        if math.isnan(rotation):
            return
        for unit in unit_of(table).unique():
            self._mixed |= self._folds.setdefault(unit, rotation) != rotation

    def _mean(self, tables: list[pd.DataFrame], column: str) -> Floats:
        """Two runs of one seed are one observation of it: take the mean of each file's rows."""
        rows, values = [], []
        for table in tables:
            columns = (one.tolist() for one in (table["file"], unit_of(table), table[column]))
            for file, unit, correct in zip(*columns, strict=True):
                if file not in self._files:
                    self._files[file] = len(self._units)
                    self._units.append(unit)
                rows.append(self._files[file])
                values.append(float(correct))
        counts = np.bincount(rows, minlength=len(self._units))
        sums = np.bincount(rows, values, minlength=len(self._units))
        means: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return means


def _total_specimens(jobs: pd.DataFrame) -> int | None:
    """Return how many specimens the folder holds, where all jobs say the same."""
    column = f"params.{Param.NUM_SPECIMENS}"
    told = set(jobs[column].dropna()) if column in jobs else set()
    number = str(told.pop()) if len(told) == 1 else ""
    return int(number) if number.isdecimal() else None


def _score(control: str = "") -> str:
    main = main_accuracy()
    return f"metrics.{control_metric(control, main) if control else f'test/{main.name}'}"


def _padded(values: Floats, length: int) -> Floats:
    """Fill up with NaN for files that were first met in later runs."""
    return np.concatenate([values, np.full(length - len(values), np.nan)])
