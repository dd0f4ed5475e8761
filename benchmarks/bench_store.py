"""What packing costs beside reading, and what batches cost beside a training step.

    python benchmarks/bench_store.py            # `make bench-cubes`; about two minutes

Packing: cubes of 256 x 256 x 408 uint16 with a disc as specimen (29 % of the frame) are packed by
two threads into a fresh cache, beside reading each once with rasterio's open().read() by two
threads; in turns; all warm. With 12 cubes instead of 200: both cost in proportion to the cubes.
`scan` (which reads every byte for its checksum) is timed apart.
Batches: 64 specimens of 64 px at 50 bands from the store, as a run takes them from a PlaneBank,
beside one optimizer step of ResNet-18 on one view of them, float32, CPU.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import record
import torch

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.packed import pack
from hyperspec.models import build_encoder
from hyperspec.models.config import ResNetConfig
from hyperspec.spectra.axis import mission_axis

SIDE, THREADS = 256, 2
NUM_BANDS, BATCH, SIZE = 50, 64, 64


def make_cubes(folder: Path, count: int) -> list[Path]:
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = (y - 128) ** 2 + ((x - 128) / 0.6) ** 2 < 100**2
    for seed in range(count):
        rng = np.random.default_rng(seed)
        spectrum = rng.uniform(1000, 4000, 408)[:, None, None]
        values = np.where(disc, spectrum, 200) + rng.normal(0, 20, (408, SIDE, SIDE))
        path = folder / f"c{seed:02d}.bil"
        write_envi(path, values, mission_axis(), dtype=np.uint16, scale_factor=4096)
    return sorted(folder.glob("*.bil"))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def read_all(paths: list[Path]) -> None:
    def read(path: Path) -> int:
        with rasterio.open(path) as source:
            return int(source.read().nbytes)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, paths))


def measure_packing(folder: Path, count: int, repeats: int) -> list[Any]:
    paths = make_cubes(folder / "cubes", count)
    catalogue = scan(folder / "cubes")
    rows = []
    for size, mask in ((64, "auto"), (224, "auto"), (64, "none")):
        settings = PrepareSettings(size=size, mask=mask)

        def pack_anew(settings: PrepareSettings = settings) -> None:
            pack(catalogue, settings, folder / "cache", num_threads=THREADS)

        times: dict[str, list[tuple[float, float]]] = {"rasterio": [], "pack": [], "scan": []}
        read_all(paths)
        for _ in range(repeats):
            times["rasterio"].append(timed(lambda: read_all(paths)))
            shutil.rmtree(folder / "cache", ignore_errors=True)
            times["pack"].append(timed(pack_anew))
            times["scan"].append(timed(lambda: scan(folder / "cubes", num_threads=THREADS)))
        median = {
            name: [statistics.median(t[i] for t in values) for i in (0, 1)]
            for name, values in times.items()
        }
        ratio = [median["pack"][i] / median["rasterio"][i] for i in (0, 1)]
        rows.append(
            {"cubes": count, "size": size, "mask": mask, "median_wall_cpu_s": median,
             "ratio_wall_cpu": ratio, "all_wall_cpu_s": times}
        )  # fmt: skip
        print(
            f"pack {count} cubes to {size} px, mask={mask}: {median['pack'][0]:.2f} s, reading "
            f"with rasterio {median['rasterio'][0]:.2f} s: {ratio[0]:.2f} x (processor time "
            f"{ratio[1]:.2f} x); scan {median['scan'][0]:.2f} s",
            flush=True,
        )
    return rows


def measure_batches(folder: Path, repeats: int) -> list[Any]:
    rng = np.random.default_rng(0)
    for i in range(2 * BATCH):
        values = rng.integers(200, 4096, (408, SIZE, SIZE), dtype=np.uint16)
        write_envi(
            folder / f"small/s{i:03d}.bil", values, mission_axis(), dtype=np.uint16,
            scale_factor=4096,
        )  # fmt: skip
    settings = PrepareSettings(size=SIZE, mask="none")
    store = pack(scan(folder / "small"), settings, folder / "cache")
    bands = np.linspace(0, 407, NUM_BANDS).round().astype(int).tolist()
    cpu = torch.device("cpu")
    encoder = build_encoder(ResNetConfig(), mission_axis().wavelengths_nm[bands])
    optimizer = torch.optim.AdamW(encoder.parameters(), 1e-4)
    banks = {mode: PlaneBank(store, bands, cpu, Residency(mode, "")) for mode in ("mmap", "device")}
    images = banks["device"].batch(torch.arange(BATCH))[0]
    name = type(encoder).__name__

    def step() -> None:
        optimizer.zero_grad()
        encoder(images).square().mean().backward()
        optimizer.step()

    step()
    times: dict[str, list[float]] = {"step": [], **{mode: [] for mode in banks}}
    generator = torch.Generator().manual_seed(0)
    for _ in range(repeats):
        times["step"].append(timed(step)[0])
        for mode, bank in banks.items():
            rows = torch.randperm(len(store), generator=generator)[:BATCH]
            times[mode].append(timed(lambda bank=bank, rows=rows: bank.batch(rows))[0])
    median = {key: statistics.median(values) for key, values in times.items()}
    for mode in banks:
        print(
            f"batch {BATCH} x {NUM_BANDS} bands x {SIZE} px, residency {mode}: "
            f"{1e3 * median[mode]:.1f} ms, {median[mode] / median['step']:.1%} of a ResNet-18 "
            f"step of {1e3 * median['step']:.0f} ms",
            flush=True,
        )
    return [{"encoder": name, "median_s": median, "all_s": times}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cubes", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure (a temporary one)")
    words = parser.parse_args()
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    content = record.context(("numpy", "scipy", "rasterio", "torch"))
    with tempfile.TemporaryDirectory(dir=words.folder) as name:
        content["batches"] = measure_batches(Path(name), words.repeats)
        content["packing"] = measure_packing(Path(name), words.cubes, words.repeats)
    print(f"wrote {record.write('store', content)}")


if __name__ == "__main__":
    main()
