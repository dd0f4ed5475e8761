"""Reading bands of cubes and of the store beside rasterio, `spectral` and a plain copy.

    python benchmarks/bench_cubes.py            # `make bench-cubes`; about five minutes

One cube of 512 x 512 x 408 uint16, BIL; whole frames and a window of 224 x 224. The ways take turns
within each round, so that what else runs on the machine meets all of them; medians are printed as
ratios to rasterio's `open().read(bands)` of the same round.
  rasterio   rasterio.open(...).read(bands)
  spectral   spectral.open_image(...).read_bands(bands) or read_subregion
  raw        Cube.read_raw(bands, out=...) through a handle kept open (cold: opened anew, since
             mapped pages cannot be dropped)
  raw, new   the same into a new array
  planes     Store.planes(rows, bands, out=...) of a store of 512 or 224 px, float16
  planes new the same into a new array
  copy       numpy.copyto of as many bytes from memory: the limit
Warm: each way runs twice in its turn and the second time counts. Cold: before each reading the
file's pages are dropped (posix_fadvise DONTNEED after fsync); `fincore` counts what stayed, and the
record says it. Below this machine may lie a host with a cache of its own, so cold is cold for this
kernel only.
A second table: batches of 64 specimens of small planes, and of 224 px, against the copy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import record
import spectral

import hyperspec
from hyperspec.cubes.cube import Window
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.packed import Store, pack
from hyperspec.spectra.axis import mission_axis

COUNTS = (9, 10, 50, 100, 200, 408)
FRAME, SIDE = 512, 224
WINDOW = Window((FRAME - SIDE) // 2, (FRAME - SIDE) // 2, SIDE, SIDE)
Ways = dict[str, Callable[[], object]]


def make_cubes(folder: Path, count: int, side: int) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [folder / f"cube{i:02d}.bil" for i in range(count)]
    for path in paths:
        values = rng.integers(200, 4096, (408, side, side), dtype=np.uint16)
        write_envi(path, values, mission_axis(), dtype=np.uint16)
    return paths


def drop(paths: list[Path], store: Store) -> int:
    """Drop files from the page cache; return how many bytes stayed."""
    store.shards.release_files()  # mapped pages cannot be dropped
    for path in paths:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    left = subprocess.run(
        ["fincore", "-b", "-n", "-o", "RES", *paths], capture_output=True, text=True, check=True
    )
    return sum(map(int, left.stdout.split()))


def rounds(
    ways: Ways, repeats: int, before: Callable[[Callable[[], object]], object]
) -> dict[str, list[float]]:
    """Time the ways in turns, seconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            before(way)
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    return times


def once(way: Callable[[], object]) -> None:
    """Run a way before it is timed, so that each finds the processor's cache as it leaves it."""
    way()


def frame_ways(
    path: Path, store: Store, bands: list[int], window: Window | None, cold: bool
) -> Ways:
    side = FRAME if window is None else SIDE
    raw = np.empty((len(bands), side, side), np.uint16)
    planes = np.empty((1, len(bands), side, side), np.float16)
    resident = np.ones_like(raw)
    part = None if window is None else ((window.row, window.row + side),) * 2
    span = (WINDOW.row, WINDOW.row + SIDE)
    one_based = [band + 1 for band in bands]
    cube = hyperspec.open(path)

    def with_rasterio() -> object:
        with rasterio.open(path) as source:
            return source.read(one_based, window=part)

    def with_spectral() -> object:
        image = spectral.open_image(str(path.with_suffix(".hdr")))
        return image.read_bands(bands) if part is None else image.read_subregion(span, span, bands)

    def opened_anew(out: np.ndarray | None) -> object:
        with hyperspec.open(path) as own:
            return own.read_raw(bands, window, out)

    check = with_rasterio()
    np.testing.assert_array_equal(cube.read_raw(bands, window, raw), check)
    np.testing.assert_array_equal(np.moveaxis(np.asarray(with_spectral()), -1, 0), check)
    ways: Ways = {"rasterio": with_rasterio, "spectral": with_spectral}
    if cold:
        cube.close()
        ways["raw"] = lambda: opened_anew(raw)
    else:
        ways["raw"] = lambda: cube.read_raw(bands, window, raw)
        ways["raw, new"] = lambda: cube.read_raw(bands, window)
    ways["planes"] = lambda: store.planes([0], bands, planes)
    if not cold:
        ways["planes, new"] = lambda: store.planes([0], bands)
        ways["copy"] = lambda: np.copyto(raw, resident)
    return ways


def measure_frames(path: Path, stores: dict[int, Store], repeats: dict[str, int]) -> list[Any]:
    rows = []
    for cold in (False, True):
        for window in (None, WINDOW):
            store = stores[FRAME if window is None else SIDE]
            files = [path, *store.shards.folder.glob("*.npy")]
            for count in COUNTS:
                bands = np.linspace(0, 407, count).round().astype(int).tolist()
                ways = frame_ways(path, store, bands, window, cold)
                left: list[int] = []
                times = rounds(
                    ways,
                    repeats["cold" if cold else "warm"],
                    (lambda _, files=files, left=left, store=store: left.append(drop(files, store)))
                    if cold
                    else once,
                )
                row = {
                    "state": "cold" if cold else "warm",
                    "part": "frame" if window is None else "window",
                    "bands": count,
                    "median_ms": {k: 1e3 * statistics.median(v) for k, v in times.items()},
                    "all_ms": {k: [round(1e3 * t, 3) for t in v] for k, v in times.items()},
                }
                if cold:
                    row["bytes_left_in_cache"] = max(left)
                rows.append(row)
                print_row(row)
    return rows


def print_row(row: dict[str, Any]) -> None:
    median = row["median_ms"]
    ratios = {k: median["rasterio"] / v for k, v in median.items() if k != "rasterio"}
    limit = f"  planes/copy {median['planes'] / median['copy']:.2f}" if "copy" in median else ""
    print(
        f"{row['state']} {row['part']:6} n={row['bands']:3}  rasterio {median['rasterio']:7.1f} ms"
        + "".join(f"  {k} {v:.1f}x" for k, v in ratios.items())
        + limit,
        flush=True,
    )


def measure_batches(small: Path, cache: Path, repeats: int) -> list[Any]:
    """Batches of 64 specimens (16 at 224 px) at 50 bands, against a copy of their bytes."""
    rows = []
    catalogue = scan(small)
    bands = np.linspace(0, 407, 50).round().astype(int).tolist()
    for size, batch in ((32, 64), (64, 64), (224, 16)):
        store = pack(catalogue, PrepareSettings(size=size, mask="none"), cache)
        order = np.random.default_rng(0).permutation(len(store))[:batch].tolist()
        out = store.planes(order, bands)
        resident = out.copy()

        def copy_planes(out: np.ndarray = out, resident: np.ndarray = resident) -> None:
            for target, source in zip(out, resident, strict=True):
                for to, plane in zip(target, source, strict=True):
                    np.copyto(to, plane)

        ways: Ways = {
            "planes": lambda store=store, order=order, out=out: store.planes(order, bands, out),
            "copy": lambda out=out, resident=resident: np.copyto(out, resident),
            "copy plane by plane": copy_planes,
        }
        median = {k: 1e3 * statistics.median(v) for k, v in rounds(ways, repeats, once).items()}
        rows.append({"size": size, "batch": batch, "bands": 50, "median_ms": median})
        print(
            f"batch {batch} x 50 bands x {size} px  planes {median['planes']:.2f} ms = "
            f"{median['planes'] / median['copy']:.2f} x copy, "
            f"{median['planes'] / median['copy plane by plane']:.2f} x copy plane by plane",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--warm", type=int, default=15, help="rounds per warm case")
    parser.add_argument("--cold", type=int, default=5, help="rounds per cold case")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (a temporary one)")
    words = parser.parse_args()
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    content = record.context(("numpy", "rasterio", "spectral"))
    with tempfile.TemporaryDirectory(dir=words.folder) as name:
        folder = Path(name)
        (path,) = make_cubes(folder / "large", 1, FRAME)
        catalogue = scan(folder / "large")
        # A cache each, so that the files of one are not those of the other.
        stores = {
            size: pack(catalogue, PrepareSettings(size=size, mask="none"), folder / f"c{size}")
            for size in (FRAME, SIDE)
        }
        rounds_of = {"warm": words.warm, "cold": words.cold}
        content["reading"] = measure_frames(path, stores, rounds_of)
        make_cubes(folder / "small", 64, 64)
        content["batches"] = measure_batches(folder / "small", folder / "c", words.warm)
    print(f"wrote {record.write('cubes', content)}")


if __name__ == "__main__":
    main()
