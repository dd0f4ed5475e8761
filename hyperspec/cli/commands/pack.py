"""``hyperspec pack``: prepare a folder's cubes once, for all runs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import add_data, data_from
from hyperspec.utils.progress import progress

_MAX_LINES = 20  # of what was done to the values


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "pack",
        help="prepare a folder's cubes once, for all runs",
        description="Calibrate, mask, crop and resize a folder's cubes into the store that runs "
        "with the same data settings read.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="cubes")
    add("--threads", type=int, help="cubes prepared at once (number of cores)")
    add("--verify", action="store_true", help="read every packed plane again and compare it")
    add_data(parser)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Pack, and say what there is."""
    from hyperspec.datasets.config import FolderData, scan_folder
    from hyperspec.datasets.preparation.preparation import PrepareSettings
    from hyperspec.datasets.store.packed import pack
    from hyperspec.utils.errors import ConfigError

    if words.threads is not None and words.threads < 1:
        raise ConfigError(f"--threads is {words.threads}; give at least 1.")
    data = data_from(words, words.folder)
    if not isinstance(data, FolderData):
        raise ConfigError("data=tiles cuts scenes while they are read; there is nothing to pack.")
    cache = Path(data.cache_dir)
    before = _indexes(cache)
    start = time.perf_counter()
    with progress("Looking at the folder"):
        catalogue = scan_folder(data, num_threads=words.threads)
    for problem in catalogue.problems:
        if problem.severity != "error":
            print(f"{problem.severity}: {problem}", file=sys.stderr)
    catalogue.raise_errors()
    store = pack(
        catalogue,
        PrepareSettings.of(data),
        cache,
        num_threads=words.threads,
        verify=words.verify or data.verify,
    )
    seconds = time.perf_counter() - start
    ready = before.get(store.folder.name) == _indexes(cache)[store.folder.name]
    low, high = store.axis.range_nm
    many = f"{len(store)} specimen image{'' if len(store) == 1 else 's'}"
    print(f"ready: {many}" if ready else f"packed {many} in {seconds:.1f} s")
    print(f"  store  {store.folder}")
    layout = f"{store.size}×{store.size} pixels, {len(store.axis)} bands, {low:.1f}-{high:.1f} nm"
    print(f"  size   {store.num_bytes / 1e6:.1f} MB of {store.dtype} planes, {layout}")
    print(f"  hash   {store.hash}")
    for place, line in enumerate(store.calibration[:_MAX_LINES]):
        print(f"  {'values' if place == 0 else '':<6} {line}")
    if len(store.calibration) > _MAX_LINES:
        more = len(store.calibration) - _MAX_LINES
        print(f"         and {more} more (hyperspec check lists all)")
    return 0


def _indexes(cache_dir: Path) -> dict[str, int]:
    """Return when the index of each store was written."""
    files = (cache_dir / "stores").glob("*/store.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in files}
