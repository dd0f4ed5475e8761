"""``hyperspec results``: the jobs of sweeps, or what they said of each image, as a table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import add_uri
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    import pandas as pd

_FORMATS = ("csv", "parquet", "json")
_STDOUT = "-"
_SHOWN = 40  # rows of predictions on a terminal


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "results",
        help="list the jobs of sweeps, or write them as a table",
        description="One row per job: settings, scores with the ends of their intervals, costs, "
        "hashes, status. With --predictions one row per job and tested image.",
        epilog="In Python: hyperspec.results('latest').",
    )
    add = parser.add_argument
    add(
        "sweeps",
        nargs="+",
        metavar="SWEEP",
        help="'latest', a run id or its beginning, a run name, a study, or a sweep's folder",
    )
    formats = parser.add_mutually_exclusive_group()
    for name in _FORMATS:
        formats.add_argument(
            f"--{name}",
            nargs="?",
            const=_STDOUT,
            metavar="FILE",
            help=f"write it as {name.upper() if name != 'parquet' else 'Parquet'}; to the standard "
            "output without FILE",
        )
    add("--predictions", action="store_true", help="what was said of each tested image")
    add_uri(parser)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Read, then print or write."""
    from hyperspec.report.job_tables import results

    with progress("Reading the runs"):
        table = results(words.sweeps, predictions=words.predictions, uri=words.uri)
    for name in _FORMATS:
        if (target := getattr(words, name)) is not None:
            _write(table, name, target)
            return 0
    _show(table, words.predictions)
    return 0


def _write(table: pd.DataFrame, kind: str, target: str) -> None:
    from hyperspec.report.job_tables import to_csv, to_json

    if kind == "parquet":
        if target == _STDOUT and sys.stdout.isatty():
            raise ConfigError("--parquet would write bytes to the terminal; give a file.")
        content = table.to_parquet(index=False)
    else:
        content = (to_csv if kind == "csv" else to_json)(table).encode()
    if target == _STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        return
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(f"wrote {path}: {len(table)} rows, {len(table.columns)} columns")


def _show(table: pd.DataFrame, predictions: bool) -> None:
    from rich.console import Console

    from hyperspec.report.results_table import shown_jobs, shown_predictions, shown_reasons
    from hyperspec.report.tables import to_rich

    console = Console()
    if not predictions:
        console.print(to_rich(shown_jobs(table)))
        if (reasons := shown_reasons(table)).rows:
            console.print(to_rich(reasons))
        return
    console.print(to_rich(shown_predictions(table, _SHOWN)))
    if len(table) > _SHOWN:
        print(f"{_SHOWN} of {len(table)} rows; --csv FILE writes all.")
