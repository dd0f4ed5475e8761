"""Settings of a sweep compared in pairs: the same seeds, the same specimens, a margin."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd

from hyperspec.config.sweep import SweepConfig
from hyperspec.evaluation.metrics import CONTROLS, control_column, control_metric, main_accuracy
from hyperspec.evaluation.statistics.bootstrap import Floats
from hyperspec.evaluation.statistics.paired import Equivalence, equivalence_test
from hyperspec.report.load import SweepData, SweepInfo
from hyperspec.report.summary import Point, Summary, setting_text
from hyperspec.utils.errors import ConfigError

_BySeed: TypeAlias = dict[float, Floats]
BASELINES = ("uniform", "random")
_WHOLE = "full"
_RESAMPLES = 2000  # 315 comparisons of 10 seeds take about 4 s on one core
_MIN_SEEDS = 2  # of one seed, a difference over seeds has no interval


@dataclass(frozen=True)
class Margin:
    """Difference of accuracy that does not matter.

    Args:
        value: Between 0 and 1.
        origin: Where it comes from, as a sentence for readers.
        beforehand: Whether it was fixed before the first job of every sweep.
    """

    value: float
    origin: str
    beforehand: bool


def find_margin(sweeps: Sequence[SweepInfo], given: float | None = None) -> Margin:
    """Return the margin of a report on these sweeps.

    Without one that the reader of the report asks for it is what the sweeps were begun with; of
    several the smallest, which claims least.

    Raises:
        ConfigError: If the given one is not between 0 and 1.
    """
    kept = sorted({info.margin for info in sweeps if info.margin is not None})
    all_kept = bool(kept) and all(info.margin is not None for info in sweeps)
    if given is not None:
        check_margin(given)
    if given is not None and not (all_kept and kept == [given]):
        return _afterwards(given, kept)
    value = kept[0] if kept else SweepConfig.margin
    words = f"±{points(value)}"
    if not kept:
        return Margin(value, f"The margin, {words}, was not fixed beforehand: the default.", False)
    origin = f"The margin, {words}, was fixed before the first job (sweep.margin={value:g})."
    if len(kept) > 1:
        others = ", ".join(f"±{points(other)}" for other in kept[1:])
        origin = f"{origin[:-1]}; other sweeps here had {others}, and the smallest holds."
    if not all_kept:
        origin += " Some of the sweeps fixed none."
    return Margin(value, origin, all_kept)


def _afterwards(value: float, kept: list[float]) -> Margin:
    before = " and ".join(f"±{points(other)}" for other in kept)
    origin = f"The margin, ±{points(value)}, was chosen for this report with --margin"
    if kept:
        origin += f", after the results; fixed before the first job was {before}."
    else:
        origin += "; the sweep fixed none beforehand."
    return Margin(value, origin, False)


def check_margin(margin: float) -> float:
    """Return the margin.

    Raises:
        ConfigError: If it is not between 0 and 1.
    """
    if 0 < margin < 1:
        return margin
    raise ConfigError(
        f"--margin is {margin:g}; give the largest difference of accuracy that does not matter, "
        "above 0 and below 1, for example 0.02 for 2 points."
    )


def points(value: float) -> str:
    """Return a difference of accuracy in points."""
    return f"{100 * value:g} point{'s' * (value != 0.01)}"


@dataclass(frozen=True)
class Difference:
    """Test accuracy (k-NN) of a setting minus that of a reference.

    Args:
        point: The setting.
        against: The reference in words.
        num_seeds: Seeds that both have.
        mean: Mean difference over these seeds, -1 to 1.
        test: The paired comparison, with its interval; None where predictions of single specimens
            are missing, so that only the scores can be subtracted.
        is_control: Whether the reference is one of the controls.
    """

    point: Point
    against: str
    num_seeds: int
    mean: float
    test: Equivalence | None
    is_control: bool = False


@dataclass(frozen=True)
class BandCount:
    """Fewer bands of a strategy against the most there are.

    Args:
        strategy: Strategy.
        setting: Other settings of the curve in words; empty when none varies.
        most: The reference, with the largest number of bands.
        smaller: Each smaller number of bands with its comparison, ascending.
    """

    strategy: str
    setting: str
    most: Point
    smaller: tuple[tuple[int, Equivalence], ...]


@dataclass(frozen=True)
class Differences:
    """All paired comparisons of one report.

    Args:
        margin: Margin of every test, and who set it when.
        rows: Strategies and settings against references with the same number of bands.
        counts: Fewer bands against most bands.
        num_unpaired: Pairs that share fewer than two seeds and so have no difference over seeds.
    """

    margin: Margin
    rows: tuple[Difference, ...]
    counts: tuple[BandCount, ...]
    num_unpaired: int

    @property
    def tested(self) -> tuple[Difference, ...]:
        """Rows against another setting, without the controls."""
        return tuple(row for row in self.rows if not row.is_control)


def compare(data: SweepData, summary: Summary, margin: float | None = None) -> Differences:
    """Compare the points of a report in pairs.

    A strategy meets ``uniform`` and ``random`` at its own number of bands and at the same other
    settings; a setting meets the one of its strategy and number of bands that the validation
    objective puts first, so that no test specimen chose the reference. Seeds are paired by their
    number and rows by their file.

    The margin is the largest difference that does not matter, between 0 and 1; None takes the one
    that the sweeps were begun with.

    Raises:
        ConfigError: If the margin is outside its range.
    """
    agreed = find_margin(data.sweeps, margin)
    if summary.part != "test" or not summary.accuracies:
        return Differences(agreed, (), (), 0)
    pairs = _Pairs(data, agreed.value)
    points = sorted(summary.points, key=lambda p: (p.n, p.strategy))
    rows: list[Difference] = []
    for point in points:
        if point.n == 0:
            continue
        for reference, words in _references(point, summary.points):
            row = pairs.difference(point, reference, words)
            rows += [row] if row else []
        rows += pairs.controls(point)
    counts = _band_counts(pairs, summary.points)
    return Differences(agreed, tuple(rows), counts, pairs.num_unpaired)


def setting_words(point: Point) -> str:
    """Return the settings besides strategy and bands, as ``name=value, ...``."""
    return ", ".join(f"{name}={setting_text(value)}" for name, value in point.extra.items())


def _references(point: Point, points: Sequence[Point]) -> Iterator[tuple[Point, str]]:
    same_n = [other for other in points if other.n == point.n]
    for baseline in BASELINES:
        # uniform - random would repeat random - uniform with the signs turned.
        if point.strategy in (baseline, BASELINES[0]):
            continue
        found = [p for p in same_n if p.strategy == baseline and _same_setting(p, point)]
        if found:
            yield found[0], baseline
    # Points stand in the order of the validation objective.
    first = next(p for p in same_n if p.strategy == point.strategy)
    if first is not point:
        yield first, setting_words(first) or "its other setting"


def _same_setting(first: Point, second: Point) -> bool:
    """Compare what both have: an option of one strategy alone does not keep others away."""
    return all(first.extra[k] == second.extra[k] for k in first.extra.keys() & second.extra.keys())


def _band_counts(pairs: _Pairs, points: Sequence[Point]) -> tuple[BandCount, ...]:
    curves: dict[tuple[str, str], dict[int, Point]] = {}
    for point in points:
        if point.n > 0:
            curve = curves.setdefault((point.strategy, setting_words(point)), {})
            curve.setdefault(point.n, point)
    found = []
    for (strategy, setting), curve in sorted(curves.items()):
        most = curve[max(curve)]
        whole = [p for p in points if p.strategy == _WHOLE and _same_setting(p, most)]
        if whole and whole[0].n > most.n:
            most = whole[0]
        tests = ((n, pairs.test(curve[n], most)) for n in sorted(curve) if n < most.n)
        smaller = tuple((n, test) for n, test in tests if test is not None)
        if smaller:
            found.append(BandCount(strategy, setting, most, smaller))
    return tuple(found)


@dataclass
class _Pairs:
    """Reads each run's predictions once and pairs them."""

    data: SweepData
    margin: float
    num_unpaired: int = 0
    _seen: dict[tuple[str, ...], _BySeed] = field(default_factory=dict)
    _files: dict[str, int] = field(default_factory=dict)
    _specimens: list[str] = field(default_factory=list)
    _seeds: dict[str, float] = field(init=False)
    _jobs: pd.DataFrame = field(init=False)
    _means: dict[tuple[tuple[str, ...], str], pd.Series[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        jobs = self.data.jobs
        self._seeds = dict(zip(jobs["run_id"], jobs["seed"].astype(float), strict=True))
        # Hundreds of points are looked up: not in a table of hundreds of columns.
        scores = [_score(), *map(_score, CONTROLS)]
        self._jobs = jobs[["run_id", "seed", *(c for c in scores if c in jobs)]].set_index("run_id")

    def difference(self, point: Point, reference: Point, against: str) -> Difference | None:
        first, second = self._scores(point), self._scores(reference)
        seeds = first.index.intersection(second.index)
        if len(seeds) < _MIN_SEEDS:
            self.num_unpaired += 1
            return None
        test = self.test(point, reference)
        if test is not None:
            shown = test.difference
            return Difference(point, against, shown.num_seeds, shown.mean, test)
        mean = float((first[seeds] - second[seeds]).mean())
        return None if math.isnan(mean) else Difference(point, against, len(seeds), mean, None)

    def controls(self, point: Point) -> list[Difference]:
        """Compare a setting with what its own runs logged of the controls."""
        found = []
        own = self._scores(point)
        for control, words in CONTROLS.items():
            gaps = (own - self._scores(point, control)).dropna()
            if len(gaps) < _MIN_SEEDS:
                continue
            test = self._compare(self._correct(point), self._correct(point, control))
            num, mean = len(gaps), float(gaps.mean())
            if test is not None:
                num, mean = test.difference.num_seeds, test.difference.mean
            found.append(Difference(point, words, num, mean, test, is_control=True))
        return found

    def test(self, point: Point, reference: Point) -> Equivalence | None:
        """Return the comparison; None with fewer than two seeds that share test specimens."""
        return self._compare(self._correct(point), self._correct(reference))

    def _compare(self, first: _BySeed, second: _BySeed) -> Equivalence | None:
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            return None
        scores, others = (
            np.stack([_padded(table[seed], len(self._specimens)) for seed in seeds])
            for table in (first, second)
        )
        seen = ~(np.isnan(scores) | np.isnan(others))
        kept, rows = seen.any(1), seen.any(0)
        if kept.sum() < _MIN_SEEDS:
            return None
        return equivalence_test(
            np.where(seen, scores, np.nan)[kept][:, rows],
            np.where(seen, others, np.nan)[kept][:, rows],
            np.asarray(self._specimens)[rows],
            margin=self.margin,
            num_resamples=_RESAMPLES,
        )

    def _scores(self, point: Point, control: str = "") -> pd.Series[float]:
        column = _score(control)
        key = (point.run_ids, column)
        if key not in self._means:
            if column not in self._jobs:
                return pd.Series(dtype=float)
            self._means[key] = self._jobs.loc[list(point.run_ids)].groupby("seed")[column].mean()
        return self._means[key]

    def _correct(self, point: Point, control: str = "") -> _BySeed:
        """Return per seed whether each file was right, 0 to 1, in the order of all files."""
        key = (control, *point.run_ids)
        if key not in self._seen:
            read = self.data.control_predictions if control else self.data.predictions
            main = main_accuracy()
            column = control_column(control, main) if control else f"{main.key}_correct"
            tables: dict[float, list[pd.DataFrame]] = {}
            for run_id in point.run_ids:
                seed, table = self._seeds[run_id], read(run_id)
                if table is not None and column in table and not math.isnan(seed):
                    tables.setdefault(seed, []).append(table)
            self._seen[key] = {seed: self._mean(found, column) for seed, found in tables.items()}
        return self._seen[key]

    def _mean(self, tables: list[pd.DataFrame], column: str) -> Floats:
        """Two runs of one seed are one observation of it: take the mean of each file's rows."""
        rows, values = [], []
        for table in tables:
            columns = (table[name].tolist() for name in ("file", "specimen", column))
            for file, specimen, correct in zip(*columns, strict=True):
                if file not in self._files:
                    self._files[file] = len(self._specimens)
                    self._specimens.append(specimen)
                rows.append(self._files[file])
                values.append(float(correct))
        counts = np.bincount(rows, minlength=len(self._specimens))
        sums = np.bincount(rows, values, minlength=len(self._specimens))
        means: Floats = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return means


def _score(control: str = "") -> str:
    main = main_accuracy()
    return f"metrics.{control_metric(control, main)}" if control else f"metrics.test/{main.name}"


def _padded(values: Floats, length: int) -> Floats:
    """Fill up with NaN for files that were first met in later runs."""
    return np.concatenate([values, np.full(length - len(values), np.nan)])
