"""The paired comparisons of a report as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from hyperspec.evaluation.metrics import main_accuracy
from hyperspec.evaluation.statistics.paired import Equivalence
from hyperspec.report.paired_tests import BandCount, Difference, Differences, points, setting_words
from hyperspec.report.summary import Summary
from hyperspec.report.tables import Grid

_SHOWN = 24  # rows of a terminal; table.txt and the page have all
_SENTENCES = 24  # up to which all are shown
_AS_WELL = ("as good as", "better")


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
            f"{found.margin.origin} Intervals: 95%, bootstrap crossed over seeds and specimens, "
            "paired by both. 'As good as': the 90% interval lies within the margin; 'better' and "
            "'worse': the 95% interval leaves out 0; else undecided. Each row is tested on its "
            "own: of 20 true zeros one may leave out 0 by chance."
        )
    if any(row.test is None for row in found.rows):
        words.append("Without an interval: only scores are logged, not the single predictions.")
    if found.num_unpaired:
        pairs = "1 pair is" if found.num_unpaired == 1 else f"{found.num_unpaired} pairs are"
        words.append(f"{pairs} left out: fewer than two seeds in common.")
    return " ".join(words)


def band_count_sentences(found: Differences) -> list[str]:
    """Say for each strategy and setting how few bands do as well as the most."""
    return [_sentence(count, found.margin.value) for count in found.counts]


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
    return [_sentence(count, found.margin.value) for count in kept]


def _sentence(count: BandCount, margin: float) -> str:
    most = str(count.most.n)
    if count.most.strategy != count.strategy:
        most += f" ({count.most.strategy})"
    name = f"{count.strategy} ({count.setting})" if count.setting else count.strategy
    for n, test in count.smaller:
        if test.verdict in _AS_WELL:
            verb = "do as well as" if test.verdict == "as good as" else "do better than"
            within = f" within ±{points(margin)}" if test.verdict == "as good as" else ""
            bands = "1 band" if n == 1 else f"{n} bands"
            text = f"{name}: {bands} {verb if n > 1 else verb.replace('do', 'does', 1)} {most}"
            return f"{text}{within} ({_ends(test, 3)}).{_below(count, n)}"
    open_ones = [(n, test) for n, test in count.smaller if test.verdict == "undecided"]
    if not open_ones:
        listed = ", ".join(str(n) for n, _ in count.smaller)
        return f"{name}: fewer bands do worse than {most}, at each number tried ({listed})."
    n, test = open_ones[-1]
    return (
        f"{name}: undecided whether fewer bands do as well as {most} within ±{points(margin)}; "
        f"closest to {most}, {n} bands: {_ends(test, 3)}, {_needed(test)}."
    )


def _below(count: BandCount, n: int) -> str:
    parts = [f"{m} {test.verdict}" for m, test in count.smaller if m < n]
    return f" Below: {', '.join(parts)}." if parts else ""


def _words(row: Difference) -> str:
    if row.test is None:
        return "not tested: scores only"
    if row.test.verdict == "undecided":
        return f"undecided; {_needed(row.test)}"
    return row.test.verdict


def _needed(test: Equivalence) -> str:
    if test.num_specimens_to_decide is not None:
        return f"about {test.num_specimens_to_decide} specimens would decide"
    return "more seeds are needed" if test.difference.num_groups > 1 else "one specimen only"


def _signed(row: Difference, digits: int) -> str:
    return f"{row.mean:+.{digits}f}" if row.test is None else _ends(row.test, digits)


def _ends(test: Equivalence, digits: int) -> str:
    shown = test.difference
    mean, low, high = (f"{v:+.{digits}f}" for v in (shown.mean, shown.low, shown.high))
    return f"{mean} [{low}, {high}]"
