"""Compare the jobs of one or several sweeps: a ranked table, a picture, one page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from hyperspec.report.charts.accuracy import save
from hyperspec.report.charts.figure import to_png
from hyperspec.report.cohort_report import CohortReport, report_cohorts, side_by_side, verdicts
from hyperspec.report.html import write_page
from hyperspec.report.load import SweepData, load_sweep
from hyperspec.report.paired_tests import Differences, check_margin
from hyperspec.report.summary import Summary
from hyperspec.report.tables import (
    caveat,
    compact,
    failures,
    left_out,
    pruned,
    ranking,
    to_rich,
    to_text,
)
from hyperspec.report.wording import (
    band_count_sentences,
    differences_compact,
    differences_grid,
    differences_note,
    main_sentences,
    num_hidden,
)
from hyperspec.tracking.health import shown
from hyperspec.utils.progress import progress

_WIDEST = 1000  # characters, more than any table needs


@dataclass(frozen=True)
class ReportPaths:
    """Where a report was written, and what it says of each cohort of jobs."""

    html: Path
    picture: Path
    table: Path
    cohorts: tuple[CohortReport, ...]
    charts: tuple[Path, ...] = ()
    """The other pictures, one file each."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return self.html, self.picture, self.table, *self.charts

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdicts, what matters most first."""
        return verdicts(self.cohorts)


def report(
    sweeps: Sequence[str],
    *,
    uri: str | None,
    out_dir: Path,
    experiment: str | None = None,
    margin: float | None = None,
) -> ReportPaths:
    """Read sweeps, write the report and print it; what ``hyperspec report`` does.

    Args:
        sweeps: See :func:`hyperspec.report.load.load_sweep`.
        uri: Tracking store; None as :func:`hyperspec.tracking.client.resolve_uri` takes it.
        out_dir: Folder to write.
        experiment: MLflow experiment to look in; all of the store by default.
        margin: Difference of accuracy that does not matter, between 0 and 1; None takes the one
            that the sweeps were begun with (``sweep.margin``).

    Raises:
        ConfigError: If the margin is outside its range.
        TrackingError: If a sweep is not found.
    """
    if margin is not None:
        check_margin(margin)  # before the store is read, which may take a while
    with progress("Reading the runs"):
        data = load_sweep(uri, sweeps, experiment)
    paths = write_report(data, out_dir, margin)
    print_report(data, paths)
    return paths


def write_report(data: SweepData, out_dir: Path, margin: float | None = None) -> ReportPaths:
    """Write ``report.html``, ``accuracy_against_bands.png``, ``table.txt`` and a PNG per chart.

    Pictures of a second cohort have its letter in their names.
    """
    with progress("Writing the report"):
        return _write(data, out_dir, margin)


def _write(data: SweepData, out_dir: Path, margin: float | None) -> ReportPaths:
    out_dir.mkdir(parents=True, exist_ok=True)
    found = report_cohorts(data, margin)
    pictures = [
        save(one.summary, out_dir / f"accuracy_against_bands{one.suffix * (place > 0)}.png")
        for place, one in enumerate(found)
    ]
    html = write_page(data, found, out_dir / "report.html")
    drawn = pictures[1:]
    for chart in (chart for one in found for chart in one.charts):
        path = out_dir / f"{chart.name}.png"
        path.write_bytes(to_png(chart))
        drawn.append(path)
    table = out_dir / "table.txt"
    paths = ReportPaths(html, pictures[0], table, found, tuple(drawn))
    table.write_text(_text(data, paths), encoding="utf-8")
    return paths


def _text(data: SweepData, paths: ReportPaths) -> str:
    """Return the sentences and the tables of the report as plain text, the verdict first."""
    text = "".join(f"{sentence}\n" for sentence in paths.sentences) + "\n"
    beside = side_by_side(data, paths.cohorts)
    text += f"{to_text(beside)}\n" if beside.rows else ""
    text += "\n".join(_cohort_text(one) for one in paths.cohorts)
    for grid in (failures(data), pruned(data), left_out(data)):
        text += "\n" + to_text(grid) if grid.rows else ""
    return text


def _cohort_text(one: CohortReport) -> str:
    found, summary = one.differences, one.summary
    text = f"{one.cohort.title}\n" if one.cohort.letter else ""
    text += to_text(ranking(summary)) + f"\n{caveat(summary)}\n"
    if found.rows:
        text += "\n" + to_text(differences_grid(found))
    words = [*band_count_sentences(found), differences_note(found, summary)]
    text += "".join(f"\n{sentence}\n" for sentence in words if sentence)
    for part in one.sections:
        text += f"\n{part.title}\n" + (f"{part.note}\n" if part.note else "")
        text += "".join("\n" + to_text(grid) for grid in part.grids)
    return text


def print_report(data: SweepData, paths: ReportPaths, console: Console | None = None) -> None:
    """Print verdict, table, what failed, where the pictures are and how to open the UI."""
    console = console or Console()
    console.print()
    for sentence in paths.sentences:
        console.print(sentence, style="bold", highlight=False, markup=False)
    beside = side_by_side(data, paths.cohorts)
    if beside.rows:
        console.print()
        console.print(to_rich(beside))
    for one in paths.cohorts:
        console.print()
        _print_cohort(one, console)
    failed = failures(data)
    if failed.rows:
        console.print()
        console.print(to_rich(failed), style="red")
    console.print()
    # Paths are printed whole, on a line of their own, so that they can be copied.
    for label, path in (("picture", _picture(paths)), ("page", paths.html)):
        console.print(f"{label}: {path}", highlight=False, soft_wrap=True, markup=False)
    for uri in dict.fromkeys(shown(info.uri) for info in data.sweeps):
        command = f"MLflow UI: {shlex.join(['hyperspec', 'ui', '--uri', uri])}"
        console.print(command, highlight=False, soft_wrap=True, markup=False)


def _picture(paths: ReportPaths) -> Path:
    """Return the picture to look at first: of a study of settings, theirs."""
    own = [s for one in paths.cohorts for s in one.opening_sections[0]]
    names = [chart.name for part in own for chart in part.charts]
    return next((path for path in paths.charts if path.stem in names[:1]), paths.picture)


def _print_cohort(one: CohortReport, console: Console) -> None:
    summary = one.summary
    if one.cohort.letter:
        console.print(one.cohort.title, style="bold", highlight=False, markup=False)
    for part in one.opening_sections[0][:1]:
        console.print(part.title, style="bold", highlight=False, markup=False)
        console.print()
    if summary.points:
        whole = to_rich(ranking(summary))
        needs = console.measure(whole, options=console.options.update(width=_WIDEST)).maximum
        console.print(whole if needs <= console.width else to_rich(compact(summary)))
    console.print(caveat(summary), style="italic", highlight=False)
    _print_differences(one.differences, summary, console)


def _print_differences(found: Differences, summary: Summary, console: Console) -> None:
    grid = differences_compact(found)
    if grid.rows:
        console.print()
        console.print(to_rich(grid))
    if num_hidden(found):
        console.print(f"{num_hidden(found)} more rows are in the page and in table.txt.")
    total = len(found.counts)
    # Of a single curve the verdict says it already.
    sentences = main_sentences(found, summary) if total > 1 else []
    for sentence in filter(None, [*sentences, differences_note(found, summary)]):
        console.print(sentence, style="italic", highlight=False, markup=False)
    if total > len(sentences) > 0:
        console.print(
            f"Of each strategy the setting that validation puts first; {total - len(sentences)} "
            "more sentences are in the page and in table.txt."
        )
