"""``hyperspec report``: compare the runs of one or several sweeps."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import add_uri


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("report", help="compare the runs of one or several sweeps")
    parser.add_argument(
        "sweeps",
        nargs="+",
        metavar="SWEEP",
        help="'latest', a run id or its beginning, a run name, or a sweep's folder",
    )
    add_uri(parser)
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write")
    parser.add_argument(
        "--margin",
        type=float,
        help="difference of accuracy that does not matter, in the paired comparisons, such as "
        "0.02 for 2 points; by default sweep.margin of the sweep, fixed before its first job",
    )
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Write and print the report."""
    from hyperspec.report.output import report

    report(words.sweeps, uri=words.uri, out_dir=words.out, margin=words.margin)
    return 0
