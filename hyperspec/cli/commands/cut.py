"""``hyperspec cut``: scans of several specimens become one cube for each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import add_data, data_from
from hyperspec.utils.progress import progress


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "cut",
        help="cut trays into one cube per specimen",
        description="Find the specimens of each scan of a folder and write one ENVI cube with a "
        "mask image for each, a numbered picture of each scan, and labels.csv to fill in.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="scans; only read")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make, outside of FOLDER")
    add(
        "--min-part",
        type=float,
        metavar="SHARE",
        help="smallest specimen, as a share of the largest one of its scan (0.1)",
    )
    add(
        "--gap",
        type=int,
        metavar="PIXELS",
        help="parts as near as this are one specimen (0.15 of the largest part's longer side)",
    )
    add_data(parser, " (pattern, axis, calibrate, mask, crop_margin count)")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Cut, and say what was found where."""
    from hyperspec.cubes.specimens import MIN_PART
    from hyperspec.datasets.config import scan_folder
    from hyperspec.datasets.preparation.preparation import PrepareSettings
    from hyperspec.inspection.tray import CutSettings, cut_folder

    data = data_from(words, words.folder, ["data.cache_dir=''"])
    with progress("Looking at the folder"):
        catalogue = scan_folder(data)
    for problem in catalogue.problems:
        if problem.severity == "warning":
            print(f"warning: {problem}", file=sys.stderr)
    catalogue.raise_errors()
    settings = CutSettings(
        MIN_PART if words.min_part is None else words.min_part,
        words.gap,
    )
    scans = cut_folder(catalogue, PrepareSettings.of(data), words.out, settings)
    for scan in scans:
        count = len(scan.files)
        print(f"{scan.record.file}: {count} specimen{'' if count == 1 else 's'}")
        if scan.whole:
            print(f"warning: nothing stands out in {scan.record.file}, so that the whole frame was "
                  "taken; put a mask image beside it.", file=sys.stderr)  # fmt: skip
        for file, box in zip(scan.files, scan.specimens.windows, strict=True):
            place = (
                f"lines {box.row}-{box.row + box.height - 1}, "
                f"samples {box.col}-{box.col + box.width - 1}"
            )
            print(f"  {file}  {place}")
    print(f"wrote {sum(len(scan.files) for scan in scans)} cubes to {words.out}")
    print(f"  numbered: {words.out / scans[0].picture}" + (" ..." if len(scans) > 1 else ""))
    print(f"  to fill in: {words.out / 'labels.csv'}")
    return 0
