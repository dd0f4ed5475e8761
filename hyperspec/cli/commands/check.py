"""``hyperspec check``: read every cube of a folder once and list what is odd."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import AXIS_HELP, add_data, data_from, parse_axis

if TYPE_CHECKING:
    from hyperspec.inspection.check import CheckReport


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "check",
        help="check a folder of cubes",
        description="Read every cube of a folder once and list what is odd.",
        epilog="Exit status: 0 clean, 1 warnings, 2 errors.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER")
    add("--expect", metavar="AXIS", help=f"the sensor: {AXIS_HELP}")
    add(
        "--tolerance",
        type=float,
        default=0.1,
        metavar="NM",
        help="drift from it that is not mentioned (0.1)",
    )
    add(
        "--saturation",
        type=float,
        metavar="VALUE",
        help="stored value that counts as saturated (else: full scales)",
    )
    add("--threads", type=int, help="cubes read at once (number of cores)")
    add("--all", action="store_true", help="show every cube and every problem")
    add("--json", action="store_true", help="print JSON instead of the table")
    add("--out", type=Path, metavar="FILE", help="also write the JSON to FILE")
    add_data(parser)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Check, print, and return the exit status."""
    from rich.console import Console

    from hyperspec.inspection.check_report import print_report, to_json

    report = check(words)
    if words.json:
        sys.stdout.write(to_json(report) + "\n")
    else:
        print_report(report, Console(), everything=words.all)
        print_next(report, words)
    if words.out is not None:
        words.out.parent.mkdir(parents=True, exist_ok=True)
        words.out.write_text(to_json(report) + "\n")
        print(f"wrote {words.out}", file=sys.stderr if words.json else sys.stdout)
    return report.exit_status


def check(words: argparse.Namespace) -> CheckReport:
    """Look at the folder as the words say."""
    from hyperspec.datasets.catalogue.labels import NoLabels
    from hyperspec.datasets.preparation.preparation import PrepareSettings
    from hyperspec.inspection.check import CheckSettings, check_folder

    data = data_from(words, words.folder, ["data.cache_dir=''"])
    settings = CheckSettings(
        labels=getattr(data, "labels", None) or NoLabels(),
        expected=parse_axis(words.expect, "--expect"),
        axis=data.own_axis,
        reading=data.reading,
        pattern=data.pattern,
        white=data.white,
        dark=data.dark,
        saturation=words.saturation,
        tolerance_nm=words.tolerance,
        num_threads=words.threads,
        cache_dir=Path(data.cache_dir) if data.cache_dir else None,
        confounders=data.confounders,
        group=data.split.group,
        preparation=PrepareSettings.of(data),
    )
    return check_folder(words.folder, settings)


def print_next(report: CheckReport, words: argparse.Namespace) -> None:
    """Print the words that come next, ready to paste; nothing where something is to be mended."""
    from hyperspec.runs.planning.next_steps import next_steps

    steps = next_steps(report, words.hydra_words)
    if steps is None:
        return
    # Plain print: a wrapped line could not be pasted.
    print(f"\nLabels: {steps.labels.text}")
    print("Next (`hyperspec start` says what it costs):")
    print(f"  {steps.run(words.folder)}")
    print(f"  {steps.study(words.folder)}")
