"""``hyperspec pack``: prepare a folder's cubes once, for all runs."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.options import AXIS_HELP, add_labels, labels_from, parse_axis

if TYPE_CHECKING:
    from hyperspec.datasets.store.packed import Store


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "pack",
        help="prepare a folder's cubes once, for all runs",
        description="Calibrate, mask, crop and resize a folder's cubes into the store that runs "
        "with the same data options read. Exports (hyperspec export) are packed as they are.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="cubes, or an export")
    add("--cache-dir", type=Path, default=Path(".hyperspec"), metavar="DIR")
    add("--size", type=int, default=64, help="side of the images in pixels (64)")
    add("--files", default="*.bil", metavar="GLOB",
        help="which files are cubes (*.bil); '*/': folders with one raster per band")  # fmt: skip
    add("--axis", help=f"for headers without wavelengths: {AXIS_HELP}")
    add("--calibrate", choices=["auto", "none"], default="auto")
    add("--white", metavar="FILE", help="white frame, relative to FOLDER")
    add("--dark", metavar="FILE", help="dark frame, relative to FOLDER")
    add("--white-reflectance", type=float, default=1.0, metavar="R")
    add("--mask", choices=["auto", "image", "otsu", "none"], default="auto")
    add("--crop-margin", type=float, default=0.05, metavar="SHARE")
    add("--threads", type=int, help="cubes prepared at once (number of cores)")
    add("--verify", action="store_true", help="read every packed plane again and compare it")
    add_labels(parser)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Pack, and say what there is."""
    from hyperspec.datasets.export.export import is_export, pack_export
    from hyperspec.utils.errors import ConfigError

    if words.threads is not None and words.threads < 1:
        raise ConfigError(f"--threads is {words.threads}; give at least 1.")
    before = _indexes(words.cache_dir)
    start = time.perf_counter()
    if is_export(words.folder):
        store = pack_export(words.folder, words.cache_dir, num_threads=words.threads)
    else:
        store = _pack_cubes(words)
    seconds = time.perf_counter() - start
    ready = before.get(store.folder.name) == _indexes(words.cache_dir)[store.folder.name]
    low, high = store.axis.range_nm
    many = f"{len(store)} specimen image{'' if len(store) == 1 else 's'}"
    print(f"ready: {many}" if ready else f"packed {many} in {seconds:.1f} s")
    print(f"  store  {store.folder}")
    layout = f"{store.size}×{store.size} pixels, {len(store.axis)} bands, {low:.1f}-{high:.1f} nm"
    print(f"  size   {store.num_bytes / 1e6:.1f} MB of {store.dtype} planes, {layout}")
    print(f"  hash   {store.hash}")
    return 0


def _pack_cubes(words: argparse.Namespace) -> Store:
    from hyperspec.datasets.catalogue.scan import scan
    from hyperspec.datasets.preparation.settings import PrepareSettings
    from hyperspec.datasets.store.pack import pack

    settings = PrepareSettings(
        size=words.size,
        calibrate=words.calibrate,
        mask=words.mask,
        crop_margin=words.crop_margin,
        white_reflectance=words.white_reflectance,
    )
    catalogue = scan(
        words.folder,
        labels=labels_from(words, words.folder),
        axis=parse_axis(words.axis, "--axis"),
        pattern=words.files,
        white=words.white,
        dark=words.dark,
        cache_dir=words.cache_dir,
        num_threads=words.threads,
    )
    for problem in catalogue.problems:
        if problem.severity == "warning":
            print(f"warning: {problem}", file=sys.stderr)
    catalogue.raise_errors()
    return pack(
        catalogue, settings, words.cache_dir, num_threads=words.threads, verify=words.verify
    )


def _indexes(cache_dir: Path) -> dict[str, int]:
    """Return when the index of each store was written."""
    files = (cache_dir / "stores").glob("*/store.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in files}
