"""``hyperspec info``: one cube as facts, pictures and its mean spectrum."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import add_data, data_from
from hyperspec.utils.progress import progress


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("info", help="show one cube: facts, pictures, mean spectrum")
    parser.add_argument(
        "cube",
        type=Path,
        metavar="CUBE",
        help="data file or header; a folder with one raster per band",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for PNG and CSV (the current one)"
    )
    add_data(parser, " (axis, calibrate, white and dark count)")
    parser.add_argument("--header", action="store_true", help="print the header's fields too")
    parser.add_argument("--no-files", action="store_true", help="write nothing")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Print, and write pictures."""
    from rich.console import Console

    from hyperspec.cubes.frames import NO_DARK
    from hyperspec.datasets.preparation.preparation import Preparation
    from hyperspec.inspection.info import look_at
    from hyperspec.inspection.info_report import print_info, write_pictures

    data = data_from(words, words.cube.parent)
    with warnings.catch_warnings(record=True) as heard, progress("Reading the cube"):
        warnings.simplefilter("always", UserWarning)
        info = look_at(
            words.cube,
            data.own_axis,
            reading=data.reading,
            preparation=Preparation.of(data),
            white=_frame(words.cube, data.white),
            dark=NO_DARK if data.dark == NO_DARK else _frame(words.cube, data.dark),
        )
    for text in dict.fromkeys([*(str(w.message) for w in heard), *info.doubts]):
        print(f"warning: {text}", file=sys.stderr)
    print_info(info, Console(), header=words.header)
    if words.no_files:
        return 0
    out = Path() if words.out is None else words.out
    if words.out is None and out.resolve() == info.cube.path.resolve().parent:
        print("No pictures: the current folder is the cube's, which is only read (--out DIR).")
        return 0
    with progress("Drawing"):
        paths = write_pictures(info, out)
    for path in paths:
        print(f"wrote {path}")
    return 0


def _frame(cube: Path, name: str | None) -> Path | None:
    """Return a frame beside the cube, or else one that is named from here."""
    if name is None:
        return None
    beside = cube.parent / name
    return beside if beside.exists() else Path(name)
