"""Settings of a sweep compared in pairs: the same seeds, the same specimens, a margin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from hyperspec.config.sweep import SweepConfig
from hyperspec.evaluation.metrics import CONTROLS, control_column, main_accuracy
from hyperspec.evaluation.statistics.paired import Equivalence, Paired, corrected, find_needed
from hyperspec.report.load import SweepData, SweepInfo
from hyperspec.report.pairing import MIN_SHARED, Pairs, mean_of
from hyperspec.report.summary import Point, Summary, setting_text
from hyperspec.utils.errors import ConfigError

BASELINES = ("uniform", "random")
_WHOLE = "full"
NO_LABELS = "no labels"
_LOSSES = ("loss", "loss.global_loss")  # settings that say whether labels go into the loss
_SUPERVISED = "supcon"
_AS_WELL = ("as good as", "better")


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
    family: str = ""
    is_control: bool = False


@dataclass(frozen=True)
class BandCount:
    """Fewer bands of a strategy against the most there are.

    Args:
        strategy: Strategy.
        setting: Other settings of the curve in words; empty when none varies.
        most: The reference, with the largest number of bands.
        smaller: Each smaller number of bands with its comparison, ascending. Each is tested by
            itself: claims are made along a fixed sequence, from the most to the fewest, which ends
            at the first that does not do as well (Maurer, Hothorn & Lehmacher 1995).
    """

    strategy: str
    setting: str
    most: Point
    smaller: tuple[tuple[int, Equivalence], ...]

    @property
    def fewest(self) -> tuple[int, Equivalence] | None:
        """The fewest bands that do as well, as do all numbers above; None where none do."""
        return min(self._as_well, default=None, key=lambda pair: pair[0])

    @property
    def stopped_at(self) -> tuple[int, Equivalence] | None:
        """Where the sequence ended; None where it went through."""
        rest = self.smaller[: len(self.smaller) - len(self._as_well)]
        return rest[-1] if rest else None

    @property
    def _as_well(self) -> list[tuple[int, Equivalence]]:
        downwards = reversed(self.smaller)
        return list(itertools.takewhile(lambda pair: pair[1].verdict in _AS_WELL, downwards))


@dataclass(frozen=True)
class Differences:
    """All paired comparisons of one report.

    Args:
        margin: Margin of every test, and who set it when.
        rows: Strategies and settings against references with the same number of bands.
        counts: Fewer bands against most bands.
        num_unpaired: Pairs that share fewer than two seeds and so have no difference over seeds.
        num_incomplete: Settings that lack a rotation; they are compared on what both tested.
    """

    margin: Margin
    rows: tuple[Difference, ...]
    counts: tuple[BandCount, ...]
    num_unpaired: int
    num_incomplete: int = 0

    @property
    def families(self) -> dict[str, int]:
        """How many verdicts each family holds, by its name."""
        found: dict[str, int] = {}
        for row in self.rows:
            if row.test is not None and not row.test.reason:
                found[row.family] = found.get(row.family, 0) + 1
        return found

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
    pairs = Pairs(data, agreed.value)
    points = [p for p in sorted(summary.points, key=lambda p: (p.n, p.strategy)) if p.n]
    rows: list[_Row] = []
    num_unpaired = 0
    of_count: dict[int, list[Point]] = {}
    for point in summary.points:
        of_count.setdefault(point.n, []).append(point)
    for point in points:
        for reference, words, family in _references(point, of_count[point.n]):
            if len(_shared(pairs, point, reference)) < MIN_SHARED:
                num_unpaired += 1
                continue
            row = _difference(pairs, point, reference, words, family)
            rows += [row] if row else []
        rows += _controls(pairs, point)
    judged = _judged(_tested(pairs, rows))
    counts = _band_counts(pairs, summary.points)
    num_incomplete = sum(map(pairs.is_incomplete, points))
    return Differences(agreed, judged, counts, num_unpaired, num_incomplete)


_Row: TypeAlias = tuple[Difference, Paired | None]
"""A difference of scores, with the predictions that it is tested by; None without them."""


def _shared(pairs: Pairs, point: Point, reference: Point) -> list[float]:
    return sorted(pairs.scores(point).keys() & pairs.scores(reference).keys())


def _difference(
    pairs: Pairs, point: Point, reference: Point, against: str, family: str
) -> _Row | None:
    pair = pairs.pair(point, reference)
    seeds = _shared(pairs, point, reference)
    own, other = pairs.scores(point), pairs.scores(reference)
    mean = mean_of([own[seed] - other[seed] for seed in seeds])
    if pair is None and math.isnan(mean):
        return None
    return Difference(point, against, len(seeds), mean, None, family), pair


def _controls(pairs: Pairs, point: Point) -> list[_Row]:
    """Compare a setting with what its own runs logged of the controls."""
    found: list[_Row] = []
    own, main = pairs.scores(point), main_accuracy()
    for control, words in CONTROLS.items():
        beside = pairs.scores(point, control)
        gaps = [own[seed] - beside[seed] for seed in sorted(own.keys() & beside.keys())]
        num = sum(not math.isnan(gap) for gap in gaps)
        if num < MIN_SHARED:
            continue
        row = Difference(point, words, num, mean_of(gaps), None, words, is_control=True)
        found.append((row, pairs.control_pair(point, main.correct, control_column(control, main))))
    return found


def _tested(pairs: Pairs, rows: Sequence[_Row]) -> list[Difference]:
    """Test those rows that have predictions, and take over their means."""
    tests = iter(pairs.tests([pair for _, pair in rows if pair is not None]))
    found = []
    for row, pair in rows:
        if pair is None:
            found.append(row)
            continue
        test = next(tests)
        shown = test.difference
        found.append(replace(row, num_seeds=shown.num_seeds, mean=shown.mean, test=test))
    return found


def _judged(rows: list[Difference]) -> tuple[Difference, ...]:
    """Give each row the verdict that its family allows."""
    found = list(rows)
    for family in dict.fromkeys(row.family for row in rows):
        own = [i for i, row in enumerate(rows) if row.family == family]
        tests = {i: test for i in own if (test := rows[i].test) is not None}
        for i, test in zip(tests, corrected(list(tests.values())), strict=True):
            found[i] = replace(rows[i], test=test)
    find_needed(row.test for row in found if row.test is not None)
    return tuple(found)


def setting_words(point: Point) -> str:
    """Return the settings besides strategy and bands, as ``name=value, ...``."""
    return ", ".join(f"{name}={setting_text(value)}" for name, value in point.extra.items())


def _references(point: Point, same_n: Sequence[Point]) -> Iterator[tuple[Point, str, str]]:
    """Yield what a point meets, in words, and the family that the comparison belongs to."""
    for baseline in BASELINES:
        # uniform - random would repeat random - uniform with the signs turned.
        if point.strategy in (baseline, BASELINES[0]):
            continue
        alike = (p for p in same_n if p.strategy == baseline and _same_setting(p, point))
        if (found := next(alike, None)) is not None:
            yield found, baseline, baseline
    if (bare := _without_labels(point, same_n)) is not None:
        yield bare, f"{NO_LABELS} ({setting_words(bare)})", NO_LABELS
    # Points stand in the order of the validation objective.
    first = next(p for p in same_n if p.strategy == point.strategy)
    if first is not point:
        yield first, setting_words(first) or "its other setting", "the setting put first"


def _without_labels(point: Point, others: Sequence[Point]) -> Point | None:
    """Return the setting that differs from a supervised one in its loss alone, NT-Xent if it ran.

    What only the one loss has (its queue) does not keep them apart; a temperature of both does.
    """
    key = next((key for key in _LOSSES if point.extra.get(key) == _SUPERVISED), None)
    if key is None:
        return None
    same = [
        other
        for other in others
        if other.strategy == point.strategy
        and other.extra.get(key) not in (None, _SUPERVISED)
        and all(other.extra.get(k, v) == v for k, v in point.extra.items() if k != key)
    ]
    return min(same, default=None, key=lambda other: other.extra[key] != "nt_xent")


def _same_setting(first: Point, second: Point) -> bool:
    """Compare what both have: an option of one strategy alone does not keep others away."""
    return all(first.extra[k] == second.extra[k] for k in first.extra.keys() & second.extra.keys())


def _band_counts(pairs: Pairs, points: Sequence[Point]) -> tuple[BandCount, ...]:
    curves: dict[tuple[str, str], dict[int, Point]] = {}
    for point in points:
        if point.n > 0:
            curve = curves.setdefault((point.strategy, setting_words(point)), {})
            curve.setdefault(point.n, point)
    asked: list[tuple[int, Paired]] = []
    every = []
    wholes = [p for p in points if p.strategy == _WHOLE]
    for (strategy, setting), curve in sorted(curves.items()):
        most = curve[max(curve)]
        whole = [p for p in wholes if _same_setting(p, most)]
        if whole and whole[0].n > most.n:
            most = whole[0]
        both = ((n, pairs.pair(curve[n], most)) for n in sorted(curve) if n < most.n)
        own = [(n, pair) for n, pair in both if pair is not None]
        asked += own
        every.append((strategy, setting, most, len(own)))
    tests = zip((n for n, _ in asked), pairs.tests([pair for _, pair in asked]), strict=True)
    found = tuple(
        BandCount(strategy, setting, most, tuple(itertools.islice(tests, count)))
        for strategy, setting, most, count in every
        if count
    )
    find_needed(stop[1] for count in found if (stop := count.stopped_at) is not None)
    return found
