"""Compare the jobs of one or several sweeps: a ranked table, a picture, one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from hyperspec.report.charts import (
    chosen_bands,
    gradient_norms,
    heatmap,
    learning_curves,
    parallel_coordinates,
    parameter_importance,
    pareto,
)
from hyperspec.report.charts.accuracy import save, small_multiples
from hyperspec.report.charts.figure import Section, to_png
from hyperspec.report.confounder_table import section as confounders
from hyperspec.report.html import write_page
from hyperspec.report.load import SweepData, load_sweep
from hyperspec.report.paired_tests import Differences, check_margin, compare
from hyperspec.report.summary import Summary, summarise
from hyperspec.report.tables import caveat, compact, failures, pruned, ranking, to_rich, to_text
from hyperspec.report.verdict import Verdict, conclude
from hyperspec.report.wording import (
    band_count_sentences,
    differences_compact,
    differences_grid,
    differences_note,
    main_sentences,
    num_hidden,
)

_WIDEST = 1000  # characters, more than any table needs


@dataclass(frozen=True)
class ReportPaths:
    """Where a report was written, what was compared in it, and what it comes to."""

    html: Path
    picture: Path
    table: Path
    differences: Differences
    verdict: Verdict
    charts: tuple[Path, ...] = ()
    """The other pictures, one file each."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files."""
        return self.html, self.picture, self.table, *self.charts


def report(
    sweeps: Sequence[str],
    *,
    uri: str,
    out_dir: Path,
    experiment: str | None = None,
    margin: float | None = None,
) -> ReportPaths:
    """Read sweeps, write the report and print it; what ``hyperspec report`` does.

    Args:
        sweeps: See :func:`hyperspec.report.load.load_sweep`.
        uri: Tracking store.
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
    data = load_sweep(uri, sweeps, experiment)
    paths = write_report(data, out_dir, margin)
    print_report(data, paths)
    return paths


def write_report(data: SweepData, out_dir: Path, margin: float | None = None) -> ReportPaths:
    """Write ``report.html``, ``accuracy_against_bands.png``, ``table.txt`` and a PNG per chart."""
    out_dir.mkdir(parents=True, exist_ok=True)
    summary = summarise(data)
    picture = save(summary, out_dir / "accuracy_against_bands.png")
    found = compare(data, summary, margin)
    verdict = conclude(data, summary, found)
    parts = sections(data, summary)
    single = small_multiples(summary)
    html = write_page(data, summary, out_dir / "report.html", found, verdict, parts, single)
    drawn = []
    for chart in (*single, *(chart for part in parts for chart in part.charts)):
        path = out_dir / f"{chart.name}.png"
        path.write_bytes(to_png(chart))
        drawn.append(path)
    table = out_dir / "table.txt"
    table.write_text(_text(data, summary, found, verdict, parts), encoding="utf-8")
    return ReportPaths(html, picture, table, found, verdict, tuple(drawn))


def sections(data: SweepData, summary: Summary) -> list[Section]:
    """Return the parts of the report beyond its tables, those that the sweeps have data for."""
    found = (
        confounders(data, summary),
        pareto.section(data, summary),
        heatmap.section(summary),
        parallel_coordinates.section(summary),
        parameter_importance.section(data, summary),
        chosen_bands.section(data, summary),
        learning_curves.section(data, summary),
        gradient_norms.section(data, summary),
    )
    return [section for section in found if section is not None]


def _text(
    data: SweepData,
    summary: Summary,
    found: Differences,
    verdict: Verdict,
    parts: Sequence[Section],
) -> str:
    """Return the sentences and the tables of the report as plain text, the verdict first."""
    text = "".join(f"{sentence}\n" for sentence in verdict.sentences) + "\n"
    text += to_text(ranking(summary)) + f"\n{caveat(summary)}\n"
    if found.rows:
        text += "\n" + to_text(differences_grid(found))
    words = [*band_count_sentences(found), differences_note(found, summary)]
    text += "".join(f"\n{sentence}\n" for sentence in words if sentence)
    for part in parts:
        text += f"\n{part.title}\n" + (f"{part.note}\n" if part.note else "")
        text += "".join("\n" + to_text(grid) for grid in part.grids)
    for grid in (failures(data), pruned(data)):
        text += "\n" + to_text(grid) if grid.rows else ""
    return text


def print_report(data: SweepData, paths: ReportPaths, console: Console | None = None) -> None:
    """Print verdict, table, what failed, where the pictures are and how to open the UI."""
    console = console or Console()
    summary = summarise(data)
    console.print()
    for sentence in paths.verdict.sentences:
        console.print(sentence, style="bold", highlight=False, markup=False)
    console.print()
    if summary.points:
        whole = to_rich(ranking(summary))
        needs = console.measure(whole, options=console.options.update(width=_WIDEST)).maximum
        console.print(whole if needs <= console.width else to_rich(compact(summary)))
    console.print(caveat(summary), style="italic", highlight=False)
    _print_differences(paths.differences, summary, console)
    failed = failures(data)
    if failed.rows:
        console.print()
        console.print(to_rich(failed), style="red")
    console.print()
    # Paths are printed whole, on a line of their own, so that they can be copied.
    for label, path in (("picture", paths.picture), ("page", paths.html)):
        console.print(f"{label}: {path}", highlight=False, soft_wrap=True, markup=False)
    for uri in dict.fromkeys(info.uri for info in data.sweeps):
        command = f"MLflow UI: hyperspec ui --uri {uri}"
        console.print(command, highlight=False, soft_wrap=True, markup=False)


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
