"""The paired comparisons of a report as tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hyperspec.evaluation.metrics import main_accuracy, metric_of
from hyperspec.evaluation.statistics.decision import ROTATIONS, Needed
from hyperspec.evaluation.statistics.intervals import Interval
from hyperspec.evaluation.statistics.paired import Equivalence
from hyperspec.report.paired_tests import BandCount, Difference, Differences, points, setting_words
from hyperspec.report.summary import Summary
from hyperspec.report.tables import Grid

_SHOWN = 24  # rows of a terminal; table.txt and the page have all
_SENTENCES = 24  # up to which all are shown


def differences_grid(found: Differences) -> Grid:
    """Return every difference, of the controls too."""
    columns = ("seeds", "specimens", "difference [95%]", "verdict")
    cells = []
    for row in found.rows:
        specimens = str(row.test.difference.num_groups) if row.test else "-"
        cells.append((str(row.num_seeds), specimens, _signed(row, 3), _words(row)))
    return _grid(found, found.rows, columns, cells)


def differences_compact(found: Differences) -> Grid:
    """Return the tested differences, as many as a terminal of 80 characters takes."""
    rows = [row for row in found.tested if row.test is not None]
    cells = [(_signed(row, 2), row.test.verdict if row.test else "-") for row in rows[:_SHOWN]]
    return _grid(found, rows, ("difference", "verdict"), cells)


def _grid(
    found: Differences,
    rows: Sequence[Difference],
    columns: tuple[str, ...],
    cells: Sequence[tuple[str, ...]],
) -> Grid:
    """Put what is compared in front of the cells; as many rows as there are cells."""
    what, margin = main_accuracy().title, points(found.margin.value)
    title = f"Paired differences of test {what} accuracy, margin ±{margin}"
    settings = any(row.point.extra for row in rows)
    full = tuple(
        (
            row.point.strategy,
            *[setting_words(row.point) or "-"] * settings,
            *(row.against, str(row.point.n), *own),
        )
        for row, own in zip(rows, cells, strict=False)
    )
    head = ("strategy", *["setting"] * settings, "against", "bands")
    return Grid(title, head + columns, full, num_text=2 + settings)


def num_hidden(found: Differences) -> int:
    """Return how many tested rows the terminal's table leaves out."""
    return max(sum(row.test is not None for row in found.tested) - _SHOWN, 0)


def differences_note(found: Differences, summary: Summary) -> str:
    """Say how the differences are tested, or why there is none; empty with nothing to compare."""
    if len(summary.points) < 2 or summary.part != "test":
        return ""
    tested = any(row.test for row in found.rows) or found.counts
    if summary.num_seeds < 2 and not tested:
        return (
            "No paired difference over seeds is possible with one seed; "
            "run the same settings with two or more (three are the least to compare by)."
        )
    words = []
    if tested:
        words.append(
            f"{found.margin.origin} Intervals: 95%, over specimens and, with three seeds or more, "
            "over seeds, paired by both. 'As good as': two one-sided tests at 5% put the "
            "difference within the margin; 'better' and 'worse': a test at 5% leaves out 0; else "
            "undecided. How few bands do as well is walked from the most to the fewest and ends "
            "at the first that does not, which needs no correction."
        )
        words += [_families(found)] if found.families else []
    words += _tied(found, summary)
    if any(row.test is None for row in found.rows):
        words.append("Without an interval: only scores are logged, not the single predictions.")
    if found.num_unpaired:
        pairs = "1 pair is" if found.num_unpaired == 1 else f"{found.num_unpaired} pairs are"
        words.append(f"{pairs} left out: fewer than two seeds in common.")
    if found.num_incomplete:
        settings = (
            "1 setting lacks"
            if found.num_incomplete == 1
            else (f"{found.num_incomplete} settings lack")
        )
        words.append(
            f"{settings} a rotation: it is compared on what both sides tested. Run the sweep "
            "again to fill it up."
        )
    return " ".join(words)


def _tied(found: Differences, summary: Summary) -> list[str]:
    """Say how many settings the objective cannot tell from the one that it puts first."""
    name, margin = summary.objective_name, found.margin.value
    if not metric_of(name).is_accuracy:
        return []
    first = summary.points[0].objective
    tied = sum(abs(first - point.objective) <= margin for point in summary.points[1:])
    if not tied:
        return []
    lie = "1 setting lies" if tied == 1 else f"{tied} settings lie"
    return [f"By {name} {lie} within ±{points(margin)} of the one put first: they are tied."]


def _families(found: Differences) -> str:
    listed = ", ".join(f"{num} against {name}" for name, num in found.families.items())
    return (
        f"The verdicts of each family ({listed}) are corrected together (Holm 1979): a false "
        "one anywhere in a family has a chance of 5%; the intervals are those of single rows."
    )


def band_count_sentences(found: Differences) -> list[str]:
    """Say for each strategy and setting how few bands do as well as the most."""
    return [band_count_sentence(count, found.margin.value) for count in found.counts]


def main_sentences(found: Differences, summary: Summary) -> list[str]:
    """Return the sentences that come first: of many, those of each strategy's best setting.

    Best by the validation objective, which orders the points, so that no test specimen chose it.
    """
    if len(found.counts) <= _SENTENCES:
        return band_count_sentences(found)
    best: dict[str, str] = {}
    for point in summary.points:
        best.setdefault(point.strategy, setting_words(point))
    kept = [count for count in found.counts if best.get(count.strategy) == count.setting]
    return [band_count_sentence(count, found.margin.value) for count in kept]


def band_count_sentence(count: BandCount, margin: float) -> str:
    """Say how few bands of one strategy and setting do as well as the most, by k-NN."""
    most = str(count.most.n)
    if count.most.strategy != count.strategy:
        most += f" ({count.most.strategy})"
    name = f"{count.strategy} ({count.setting})" if count.setting else count.strategy
    stop = count.stopped_at
    if count.fewest is not None:
        n, test = count.fewest
        verb = "do as well as" if test.verdict == "as good as" else "do better than"
        within = f" within ±{points(margin)}" if test.verdict == "as good as" else ""
        verb = verb if n > 1 else verb.replace("do", "does", 1)
        shown, level = _claimed_by(test)
        text = f"{name}: {_bands(n)} {verb} {most}{within} ({_ends(shown, 3, level)})."
        if stop is None:
            return text
        return f"{text} Fewer: {_bands(stop[0])} {_stopped(stop[1])}."
    if stop is None:
        return f"{name}: no fewer bands were tried than {most}."
    n, test = stop
    if test.verdict == "worse":
        verb = "does" if n == 1 else "do"
        return (
            f"{name}: {_bands(n)} {verb} worse than {most} already ({_ends(test.difference, 3)})."
        )
    return (
        f"{name}: undecided whether fewer bands do as well as {most} within ±{points(margin)}; "
        f"closest to {most}, {_bands(n)}: {_ends(test.difference, 3)}; {needed_text(test)}."
    )


def _bands(n: int) -> str:
    return "1 band" if n == 1 else f"{n} bands"


def _stopped(test: Equivalence) -> str:
    return "worse" if test.verdict == "worse" else f"undecided; {needed_text(test)}"


def _words(row: Difference) -> str:
    if row.test is None:
        return "not tested: scores only"
    if row.test.verdict == "undecided":
        return f"undecided; {needed_text(row.test)}"
    return row.test.verdict


def gap_text(test: Equivalence) -> str:
    """Return a difference in points with its interval: ``+4 points [-2, +9]``."""
    shown, level = _claimed_by(test)
    mean, low, high = (100 * value for value in (shown.mean, shown.low, shown.high))
    if math.isnan(low):
        return f"{mean:+.0f} points, no interval"
    return f"{mean:+.0f} points{level} [{low:+.0f}, {high:+.0f}]"


def _claimed_by(test: Equivalence) -> tuple[Interval, str]:
    """Return the interval that a claim rests on, and its level where that is not 95%.

    Two one-sided tests at 5% put the 90% interval within the margin; that of 95% may reach past it.
    """
    return (test.inner, ", 90%") if test.verdict == "as good as" else (test.difference, "")


def needed_text(test: Equivalence) -> str:
    """Say what would decide a comparison, or why nothing can."""
    if test.reason == "two seeds":
        return "two seeds: no verdict; a third decides whether seeds differ"
    if test.reason:
        return f"{test.reason.replace('specimen', test.unit)}: no verdict"
    if not test.needed:
        return f"no number of {test.unit}s or seeds that could be run would decide"
    return _needed_words(test.needed[0], test.unit)


def _needed_words(needed: Needed, unit: str) -> str:
    """Say what would decide, with the condition under which it does in 8 of 10 repetitions."""
    amount = {
        "seeds": f"{needed.seeds} seeds",
        "rotations": f"{ROTATIONS} rotations (data.split.rotate={ROTATIONS})",
        "specimens": f"about {needed.specimens} tested {unit}s",
        "specimens and seeds": (
            f"about {needed.specimens} tested {unit}s with {needed.seeds} seeds"
        ),
    }[needed.means]
    if needed.claim == "different":
        return f"{amount} would show it if the true difference is the one seen"
    return f"{amount} would call them equal if there is no true difference"


def _signed(row: Difference, digits: int) -> str:
    return f"{row.mean:+.{digits}f}" if row.test is None else _ends(row.test.difference, digits)


def _ends(shown: Interval, digits: int, level: str = "") -> str:
    mean, low, high = (f"{v:+.{digits}f}" for v in (shown.mean, shown.low, shown.high))
    return f"{mean}{level} [{low}, {high}]"
