"""What several runs said of the same test images, laid side by side: seeds × files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd

from hyperspec.evaluation.metrics import CONTROLS, control_metric, main_accuracy
from hyperspec.evaluation.statistics.paired import Equivalence, Paired, equivalence_tests, pair
from hyperspec.evaluation.statistics.variance import Floats, Ints
from hyperspec.report.load import SweepData
from hyperspec.report.prediction_rows import Judged
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
    _rows: dict[tuple[str, ...], Ints] = field(default_factory=dict)
    _order: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    _folds: dict[str, float] = field(default_factory=dict)
    _turns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    _numbered: tuple[int, int] = (0, 0)
    _noted: set[tuple[tuple[str, ...], float]] = field(default_factory=set)
    _mixed: bool = False
    _seeds: dict[str, float] = field(init=False)
    _rotations: dict[str, float] = field(init=False)
    _every_rotation: set[float] = field(init=False)
    _scores: dict[str, dict[str, float]] = field(init=False)
    _total: int | None = field(init=False)
    _means: dict[tuple[tuple[str, ...], str], dict[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        jobs = self.data.jobs
        self._seeds = dict(zip(jobs["run_id"], jobs["seed"].astype(float), strict=True))
        rotations = jobs["rotation"] if "rotation" in jobs else np.full(len(jobs), np.nan)
        self._rotations = dict(zip(jobs["run_id"], rotations, strict=True))
        self._every_rotation = {r for r in self._rotations.values() if not math.isnan(r)}
        # Hundreds of points are looked up: not in a table of hundreds of columns.
        self._scores = {
            name: dict(zip(jobs["run_id"], jobs[name].astype(float), strict=True))
            for name in map(_score, ("", *CONTROLS))
            if name in jobs
        }
        # How many groups the folder holds is not logged.
        self._total = _total_specimens(jobs) if self.data.unit == "specimen" else None

    def tests(self, pairs: Sequence[Paired]) -> list[Equivalence]:
        """Test comparisons; of many the time is that of few."""
        return equivalence_tests(
            pairs, margin=self.margin, total_specimens=self._total, unit=self.data.unit
        )

    def pair(self, point: Point, reference: Point) -> Paired | None:
        """Return the comparison; None with fewer than two seeds that share test specimens."""
        column = main_accuracy().correct
        return self._compare(self._correct(point, column), self._correct(reference, column))

    def test(self, point: Point, reference: Point) -> Equivalence | None:
        """Return the test of :meth:`pair`."""
        found = self.pair(point, reference)
        return None if found is None else self.tests([found])[0]

    def control_pair(self, point: Point, column: str, control: str) -> Paired | None:
        """Return the comparison of a setting with what its own runs logged of a control.

        Args:
            point: The setting.
            column: Of the test predictions, which rows it named rightly.
            control: The same of the control predictions.
        """
        return self._compare(self._correct(point, column), self._correct(point, control, True))

    def scores(self, point: Point, control: str = "") -> dict[float, float]:
        """Return the logged score of each seed, the mean over its rotations; NaN without one."""
        column = _score(control)
        key = (point.run_ids, column)
        if key not in self._means:
            logged, by_seed = self._scores.get(column, {}), dict[float, list[float]]()
            for run_id in point.run_ids if logged else ():
                if not math.isnan(seed := self._seeds[run_id]):
                    by_seed.setdefault(seed, []).append(logged[run_id])
            self._means[key] = {seed: mean_of(values) for seed, values in by_seed.items()}
        return self._means[key]

    def is_incomplete(self, point: Point) -> bool:
        """Say whether a seed of a setting lacks a rotation that other jobs have."""
        every = self._every_rotation
        found: dict[float, set[float]] = {}
        for run_id in point.run_ids:
            found.setdefault(self._seeds[run_id], set()).add(self._rotations[run_id])
        return bool(every) and any(own != every for own in found.values())

    def _compare(self, first: BySeed, second: BySeed) -> Paired | None:
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
        self._number_units()
        return pair(
            np.where(seen, scores, np.nan)[kept][:, rows],
            np.where(seen, others, np.nan)[kept][:, rows],
            self._order[rows],
            self._turns[rows] if self._folds and not self._mixed else None,
        )

    def _number_units(self) -> None:
        """Give each file the number of its unit, in their order as text, and its rotation."""
        size = len(self._units), len(self._folds)
        if self._numbered != size:
            self._numbered = size
            self._order = np.unique(self._units, return_inverse=True)[1]
            turns = [self._folds.get(name, -1.0) for name in self._units]
            self._turns = np.asarray(turns).astype(int)

    def _correct(self, point: Point, column: str, of_control: bool = False) -> BySeed:
        """Return per seed whether each file was right, 0 to 1, in the order of all files."""
        key = (column, str(of_control), *point.run_ids)
        if key not in self._seen:
            tables: dict[float, list[Judged]] = {}
            for run_id in point.run_ids:
                seed, table = self._seeds[run_id], self.data.judged(run_id, of_control)
                if table is not None and column in table.right and not math.isnan(seed):
                    self._note_fold(run_id, table)
                    tables.setdefault(seed, []).append(table)
            self._seen[key] = {seed: self._mean(found, column) for seed, found in tables.items()}
        return self._seen[key]

    def _note_fold(self, run_id: str, table: Judged) -> None:
        """Keep which rotation tested a specimen, or a group; with a deal per seed there is none."""
        rotation = self._rotations[run_id]
        if math.isnan(rotation) or (table.units, rotation) in self._noted:
            return
        self._noted.add((table.units, rotation))
        for unit in set(table.units):
            self._mixed |= self._folds.setdefault(unit, rotation) != rotation

    def _rows_of(self, table: Judged) -> Ints:
        """Return the place of each row's file among all files."""
        if table.files not in self._rows:
            for file, unit in zip(table.files, table.units, strict=True):
                if file not in self._files:
                    self._files[file] = len(self._units)
                    self._units.append(unit)
            rows = [self._files[file] for file in table.files]
            self._rows[table.files] = np.array(rows, np.int64)
        return self._rows[table.files]

    def _mean(self, tables: list[Judged], column: str) -> Floats:
        """Two runs of one seed are one observation of it: take the mean of each file's rows."""
        rows = np.concatenate([self._rows_of(table) for table in tables])
        values = np.concatenate([table.right[column] for table in tables])
        counts = np.bincount(rows, minlength=len(self._units))
        sums = np.bincount(rows, values, minlength=len(self._units))
        means: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return means


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of those that are numbers; NaN without any."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


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
