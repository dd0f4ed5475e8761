"""Compare the jobs of one or several sweeps: a ranked table, a picture, one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from hyperspec.sweeps.data import SweepData, SweepInfo, load_sweep
from hyperspec.sweeps.figure import save
from hyperspec.sweeps.page import write_page
from hyperspec.sweeps.summary import summarise
from hyperspec.sweeps.table import caveat, compact, failures, ranking, to_rich, to_text

_WIDE = 150  # characters of a terminal that shows the full table; narrower ones get its heart

__all__ = [
    "ReportPaths",
    "SweepData",
    "SweepInfo",
    "load_sweep",
    "print_report",
    "report",
    "write_report",
]


@dataclass(frozen=True)
class ReportPaths:
    """Where a report was written."""

    html: Path
    picture: Path
    table: Path

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """All files."""
        return self.html, self.picture, self.table


def report(
    sweeps: Sequence[str],
    *,
    uri: str,
    out_dir: Path,
    experiment: str | None = None,
) -> ReportPaths:
    """Read sweeps, write the report and print it; what ``hyperspec report`` does.

    Args:
        sweeps: See :func:`hyperspec.sweeps.data.load_sweep`.
        uri: Tracking store.
        out_dir: Folder to write.
        experiment: MLflow experiment to look in; all of the store by default.

    Raises:
        TrackingError: If a sweep is not found.
    """
    data = load_sweep(uri, sweeps, experiment)
    paths = write_report(data, out_dir)
    print_report(data, paths)
    return paths


def write_report(data: SweepData, out_dir: Path) -> ReportPaths:
    """Write ``report.html``, ``accuracy_against_bands.png`` and ``table.txt``."""
    out_dir.mkdir(parents=True, exist_ok=True)
    summary = summarise(data)
    picture = save(summary, out_dir / "accuracy_against_bands.png")
    html = write_page(data, summary, out_dir / "report.html")
    table = out_dir / "table.txt"
    text = to_text(ranking(summary)) + f"\n{caveat(summary)}\n"
    failed = failures(data)
    if failed.rows:
        text += "\n" + to_text(failed)
    table.write_text(text, encoding="utf-8")
    return ReportPaths(html, picture, table)


def print_report(data: SweepData, paths: ReportPaths, console: Console | None = None) -> None:
    """Print the ranked table, what failed, where the pictures are and how to open the UI."""
    console = console or Console()
    summary = summarise(data)
    console.print()
    if summary.points:
        console.print(to_rich(compact(summary) if console.width < _WIDE else ranking(summary)))
    console.print(caveat(summary), style="italic", highlight=False)
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
