"""Batches of planes that do not stay in memory: threads, processes, neither, and rasterio.

    python benchmarks/bench_reading.py            # part of `make bench-cubes`; some ten minutes

Images per second of a loader alone, and the seconds that a step of 50 ms of sleep waits for it:
hardware.read_threads=2, hardware.num_workers=2, neither, and the plain recipe's Dataset over
rasterio with two processes, which also calibrates and masks. An epoch each, in turns, all warm.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from plain_recipe import recipe

from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.splits import Split
from hyperspec.datasets.store.packed import pack
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.training.datamodule import LoaderSettings, SpecimenData

WAYS = {
    "2 threads": LoaderSettings(2, 0),
    "2 processes": LoaderSettings(0, 2, persistent_workers=True),
    "when asked": LoaderSettings(0, 0),
}
STEP_S = 0.05


def loaders(root: Path, folder: Path, size: int, n: int, batch: int) -> dict[str, Iterable[Any]]:
    store = pack(scan(root), PrepareSettings(size=size, mask="none"), folder / "cache")
    bands = np.linspace(0, 407, n).round().astype(int).tolist()
    bank = PlaneBank(store, bands, torch.device("cpu"), Residency("mmap", ""))
    rows = np.arange(len(store))
    split = Split(rows, rows[:0], rows[:0], "")
    found: dict[str, Iterable[Any]] = {
        name: SpecimenData(bank, split, batch, 0, settings).train_dataloader()
        for name, settings in WAYS.items()
    }
    files = [root / name for name in store.table["file"]]
    cubes = recipe.Cubes(files, [0] * len(files), bands, size)
    found["rasterio, 2 processes"] = torch.utils.data.DataLoader(
        cubes, batch, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True
    )
    return found


def epoch(loader: Iterable[Any], pause: float) -> float:
    """Return the seconds that an epoch waits for its batches."""
    waited, start, seen = 0.0, time.perf_counter(), 0
    for _ in loader:
        seen += 1
        waited += time.perf_counter() - start
        time.sleep(pause)
        start = time.perf_counter()
    return waited / seen


def measure(
    root: Path, folder: Path, size: int, n: int, batch: int, repeats: int
) -> dict[str, Any]:
    ways = loaders(root, folder, size, n, batch)
    row: dict[str, Any] = {"size": size, "bands": n, "batch": batch, "ways": {}}
    times: dict[str, dict[str, list[float]]] = {name: {"alone": [], "beside": []} for name in ways}
    for turn in range(repeats + 1):
        for name, loader in ways.items():
            alone, beside = epoch(loader, 0.0), epoch(loader, STEP_S)
            if turn:
                times[name]["alone"].append(alone)
                times[name]["beside"].append(beside)
    base = statistics.median(times["rasterio, 2 processes"]["alone"])
    for name, each in times.items():
        alone, beside = (statistics.median(each[key]) for key in ("alone", "beside"))
        row["ways"][name] = {"images_per_s": batch / alone, "waits_s": beside, "all_s": each}
        print(
            f"{n:3} bands, {size:3} px, batch {batch}: {name:22} {batch / alone:8.0f} images/s "
            f"({base / alone:5.1f} x); a step waits {1e3 * beside:7.1f} ms",
            flush=True,
        )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure (a temporary one)")
    words = parser.parse_args()
    warnings.filterwarnings("ignore")
    content = record.context(("numpy", "rasterio", "torch"))
    rows = []
    with tempfile.TemporaryDirectory(dir=words.folder) as name:
        for size, side, specimens, batch in ((64, 96, 12, 32), (224, 256, 3, 8)):
            folder = Path(name) / str(size)
            root = synthesise(folder / "cubes", SynthSettings(num_specimens=specimens, size=side))
            for n in (50, 408):
                rows.append(measure(root, folder, size, n, batch, words.repeats))
    print(f"wrote {record.write('reading', {**content, 'rows': rows})}")


if __name__ == "__main__":
    main()
