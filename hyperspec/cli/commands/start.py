"""``hyperspec start``: walk a folder of one's own, from what is there to the first study."""

from __future__ import annotations

import argparse
import os
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.check import check
from hyperspec.cli.commands.words import add_data, config_words, write_text
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    from hyperspec.inspection.check import CheckReport
    from hyperspec.runs.planning.next_steps import Steps

_WIDTH = 100
_SHOWN = 6  # kinds of problems


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "start",
        help="walk a folder of your own: what is there, what is odd, what to run first",
        description="Read every cube of a folder once and say what is there, where labels and "
        "frames are, what is odd, what a first study costs, and the command for it.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="write a table of labels to fill in"
    )
    add_data(parser)
    # What `hyperspec check` can be asked besides.
    usual = {"expect": None, "tolerance": 0.1, "saturation": None, "threads": None}
    parser.set_defaults(command=run, **usual)


def run(words: argparse.Namespace) -> int:
    """Walk the folder; 2 where something has to be mended first."""
    from hyperspec.inspection.check_report import summary
    from hyperspec.runs.planning.next_steps import next_steps, table_to_fill

    report = check(words)
    # Labels and speed are told elsewhere.
    there = [x for x in summary(report) if not x.startswith("Labels") and " MB/s" not in x]
    notes = [f"The folder {p.message}" for p in report.problems if p.severity == "note"]
    _section("What is there", [*there, *(note for note in notes if "has no labels" not in note)])
    steps = next_steps(report, words.hydra_words)
    if steps is not None:
        _section("Labels", [steps.labels.text])
    _section("Frames", [f"{done} ({name})" for done, name in _calibration(report)])
    _section("What is odd", _odd(report) or ["Nothing."])
    if words.table is not None and report.catalogue is not None:
        write_text(words.table, table_to_fill(report.catalogue))
        print(f"Fill in the species and put it into {words.folder} as labels.csv.")
    if steps is None:
        few = report.severity != "error"
        _section("First", [_TOO_FEW] if few else _to_mend(report))
        return 1 if few else 2
    _section("Worth knowing", steps.advice)
    _first_study(words, steps)
    return 0


_TOO_FEW = (
    "A study trains on some specimens and tests on others; of fewer than three none can be made. "
    "`hyperspec info FILE` looks at one cube, `data=tiles` trains on the tiles of a scene."
)


def _to_mend(report: CheckReport) -> list[str]:
    folder = report.root
    lines = [
        "Mend the errors, or take the files out of the folder; then run "
        f"`hyperspec start {folder}` again. `hyperspec check {folder}` lists every file."
    ]
    errors = (p.message for p in report.problems if "has no wavelengths" in p.message)
    if (message := next(errors, None)) is not None:
        count = re.search(r"with (\d+) bands", message)
        lines.append(
            "Where the sensor's range is known, in nm: "
            f"hyperspec start {folder} 'data.axis={{start_nm:400,stop_nm:1000,"
            f"count:{count[1] if count else 'N'}}}' (with your numbers), or "
            "data.axis.file=wavelengths.csv, one per band."
        )
    return lines


def _first_study(words: argparse.Namespace, steps: Steps) -> None:
    from hyperspec.cli.commands.plan import composed
    from hyperspec.config.compose import hydra_string
    from hyperspec.runs.planning.next_steps import forecast_study
    from hyperspec.utils.errors import HyperspecError

    try:
        with progress("Forecast of the first study"):
            own = [
                *config_words(words),
                f"data.root={hydra_string(str(words.folder))}",
                *steps.plain,
            ]
            cost = forecast_study(composed([*own, "experiment=band_count"]), steps.counts)
    except HyperspecError as error:
        cost = [f"unknown ({error})"]
    _section("What a first study costs", cost)
    print("\nWhich bands would be chosen, drawn on the spectra, before anything is trained:")
    print(f"  {steps.choice(words.folder)}")
    print("One run, to see that it learns and how long it takes:")
    print(f"  {steps.run(words.folder)}")
    print("The study, how many bands are enough (its jobs are checked before the first one):")
    print(f"  {steps.study(words.folder)}")


def _section(title: str, lines: Iterable[str]) -> None:
    shown = [line for line in lines if line]
    if not shown:
        return
    print(f"\n{title}")
    for line in shown:
        for part in textwrap.wrap(line, _WIDTH - 2, break_long_words=False, break_on_hyphens=False):
            print(f"  {part}")


def _calibration(report: CheckReport) -> Iterable[tuple[str, str]]:
    from hyperspec.datasets.preparation.plan import several

    return [(words, several(list(files))) for words, files in report.calibration.items()]


def _odd(report: CheckReport) -> list[str]:
    """Return a line per kind of problem, with the first file and how many share it."""
    from hyperspec.datasets.preparation.plan import several

    kinds: dict[tuple[str, str], list[str]] = {}
    for problem in report.problems:
        if problem.severity == "note":
            continue  # which is told above
        text = problem.message.replace(f"{report.root}{os.sep}", "")
        if problem.file != ".":
            for name in (problem.file, Path(problem.file).name):
                for header in (f"{name}.hdr", f"{Path(name).with_suffix('')}.hdr"):
                    text = text.replace(header, "its header")
                text = text.replace(name, "it")
        kinds.setdefault((problem.severity, text), []).append(problem.file)
    lines = [
        f"{severity}: {'the folder' if files[0] == '.' else several(files)}: {text}"
        for (severity, text), files in kinds.items()
    ]
    more = [f"and {len(lines) - _SHOWN} more (hyperspec check)"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more]
