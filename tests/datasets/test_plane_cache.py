from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.loading import plane_cache as banks
from hyperspec.datasets.loading.plane_cache import (
    PlaneBank,
    Residency,
    choose_residency,
    predicted_bytes,
)
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.on_the_fly import DirectSource
from hyperspec.datasets.store.packed import Store, pack
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import ConfigError

AXIS = SpectralAxis.linear(400, 700, 40)
CPU = torch.device("cpu")
BANDS = [30, 3, 4, 5, 17]


def write_cubes(folder: Path, count: int, side: int) -> None:
    for seed in range(count):
        rng = np.random.default_rng(seed)
        values = rng.uniform(0.1, 0.9, (40, side, side))
        write_envi(folder / f"c{seed}.bil", values, AXIS, dtype=np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("bank")
    write_cubes(folder / "data", 6, 16)
    return pack(scan(folder / "data"), PrepareSettings(size=12, mask="none"), folder / "cache")


@pytest.mark.parametrize("mode", ["device", "pinned", "mmap"])
def test_batches_are_the_same_wherever_the_planes_live(store: Store, mode: str) -> None:
    bank = PlaneBank(store, BANDS, CPU, Residency(mode, ""))
    rows = [4, 0, 4, 5]
    images, masks = bank.batch(torch.tensor(rows))
    np.testing.assert_array_equal(images.numpy(), store.planes(rows, BANDS).astype(np.float32))
    np.testing.assert_array_equal(masks[:, 0].numpy(), store.masks(rows))
    assert images.dtype == torch.float32
    assert len(bank) == 6


@pytest.mark.parametrize("mode", ["device", "pinned", "mmap"])
def test_the_predicted_size_is_the_actual_one(store: Store, mode: str) -> None:
    predicted = predicted_bytes(len(store), len(BANDS), store.size, store.dtype.itemsize)
    assert predicted == 6 * 12 * 12 * (5 * 2 + 1)
    bank = PlaneBank(store, BANDS, CPU, Residency(mode, ""))
    masks_alone = 6 * 12 * 12
    assert bank.resident_bytes == (masks_alone if mode == "mmap" else predicted)
    assert bank.batch(torch.tensor([1]))[0].shape == (1, 5, 12, 12)


def test_float32_images_and_unpacked_sources_work_too(tmp_path: Path) -> None:
    write_cubes(tmp_path, 2, 16)
    source = DirectSource(scan(tmp_path), PrepareSettings(size=8, mask="none", dtype="float32"))
    bank = PlaneBank(source, [7, 1], CPU, Residency("device", ""))
    assert bank.resident_bytes == predicted_bytes(2, 2, 8, 4)
    images, _ = bank.batch(torch.tensor([1, 0]))
    np.testing.assert_array_equal(images.numpy(), source.planes([1, 0], [7, 1]))


def set_free(monkeypatch: pytest.MonkeyPatch, host: int, gpu: int = 0) -> None:
    memory = psutil.virtual_memory()._replace(available=host)
    monkeypatch.setattr(banks.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(banks.torch.cuda, "mem_get_info", lambda device: (gpu, 2 * gpu))


MB = 10**6


@pytest.mark.parametrize(
    ("device", "host", "gpu", "mode", "reason"),
    [
        ("cpu", 100, 0, "device", "50 MB of planes fit in memory (100 MB free)"),
        ("cpu", 99, 0, "mmap", "50 MB of planes exceed 50% of the free memory"),
        ("cuda", 10, 100, "device", "50 MB of planes fit on the GPU (100 MB free)"),
        ("cuda", 100, 99, "pinned", "50 MB of planes fit in host memory, not on the GPU"),
        ("cuda", 99, 99, "mmap", "50 MB of planes exceed 50% of the free memory"),
    ],
)
def test_auto_takes_the_nearest_place_with_room(
    monkeypatch: pytest.MonkeyPatch, device: str, host: int, gpu: int, mode: str, reason: str
) -> None:
    set_free(monkeypatch, host * MB, gpu * MB)
    chosen = choose_residency("auto", 50 * MB, torch.device(device), 0.5)
    assert chosen == Residency(mode, reason)


@pytest.mark.parametrize(("jobs", "mode"), [(1, "device"), (2, "pinned"), (20, "mmap")])
def test_jobs_that_start_together_share_what_each_sees_free(
    jobs: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free(monkeypatch, 400 * MB, 100 * MB)
    cuda = torch.device("cuda")
    assert choose_residency("auto", 40 * MB, cuda, 0.5, jobs=jobs).mode == mode
    known = choose_residency("auto", 40 * MB, cuda, 0.5, jobs=jobs, free=8000 * MB)
    assert known.mode == "device"
    assert choose_residency("auto", 40 * MB, CPU, 0.5, processes=5).mode == "device"
    assert choose_residency("auto", 40 * MB, CPU, 0.5, processes=6).mode == "mmap"  # in each


def test_a_wish_is_granted_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    set_free(monkeypatch, 60 * MB, 40 * MB)
    cuda = torch.device("cuda")
    # The share bounds what `auto` takes, not what is asked for by name.
    assert choose_residency("pinned", 50 * MB, cuda, 0.1).mode == "pinned"
    assert choose_residency("mmap", 5000 * MB, cuda, 0.1).mode == "mmap"
    chosen = choose_residency("device", 50 * MB, CPU, 0.1)
    assert chosen == Residency("device", "50 MB of planes, as configured")
    with pytest.raises(
        ConfigError,
        match=r"'device', but 50 MB of planes do not fit in the GPU \(40 MB free\). Choose auto or",
    ):
        choose_residency("device", 50 * MB, cuda, 0.1)
    with pytest.raises(ConfigError, match=r"'pinned', but 70 MB .* host memory \(60 MB free\)"):
        choose_residency("pinned", 70 * MB, cuda, 0.1)


def test_unknown_names_and_shares_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.residency is 'gpu'; choose one of auto, device"):
        choose_residency("gpu", 1, CPU, 0.5)
    with pytest.raises(ConfigError, match=r"data.memory_share is 0; give a share in \(0, 1\]"):
        choose_residency("auto", 1, CPU, 0)


# The kernel's own highest mark; getrusage also counts the process that started this one.
JOB = """
import json, sys
from pathlib import Path
import torch
from hyperspec.datasets.store.packed import Store
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency, predicted_bytes
folder, num_bands, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
store = Store.open(folder)
bands = list(range(0, 40, 40 // num_bands))
store.planes([0], bands[:1])
Path("/proc/self/clear_refs").write_text("5")  # the mark starts from here
before = peak()
bank = PlaneBank(store, bands, torch.device("cpu"), Residency(mode, ""))
total = sum(float(bank.batch(torch.tensor([row]))[0].sum()) for row in range(len(store)))
predicted = predicted_bytes(len(store), len(bands), store.size, store.dtype.itemsize)
print(json.dumps([peak() - before, predicted, store.num_bytes, total]))
"""


@pytest.fixture(scope="module")
def large_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store of 126 MB."""
    folder = tmp_path_factory.mktemp("large")
    write_cubes(folder / "data", 24, 16)
    settings = PrepareSettings(size=256, mask="none")
    return pack(scan(folder / "data"), settings, folder / "cache").folder


@pytest.fixture
def run_job(large_store: Path) -> Callable[[int, str], list[float]]:
    def run(num_bands: int, mode: str) -> list[float]:
        command = [sys.executable, "-c", JOB, str(large_store), str(num_bands), mode]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        answer: list[float] = json.loads(done.stdout)
        return answer

    return run


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells the peak of a part"
)
def test_a_job_takes_the_memory_of_its_own_planes(
    run_job: Callable[[int, str], list[float]],
) -> None:
    grown, predicted, whole, total = run_job(20, "device")
    assert whole == pytest.approx(24 * 40 * 256**2 * 2, rel=1e-3)
    assert predicted == 24 * 256**2 * (20 * 2 + 1)
    # A batch of one image in float32 and its sum are there besides.
    assert predicted <= grown < predicted + 0.35 * whole
    few, few_predicted, _, _ = run_job(4, "device")
    assert few_predicted <= few < few_predicted + 0.15 * whole
    streamed, _, _, same = run_job(20, "mmap")
    # Pages of files that are kept open count as well, until the system wants them back.
    assert streamed < 0.8 * predicted
    assert same == total


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["device", "pinned", "mmap"])
def test_planes_on_a_gpu(store: Store, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "_STAGE_BYTES", 2 * 5 * 12 * 12 * 2)  # two images at a time
    device = torch.device("cuda")
    bank = PlaneBank(store, BANDS, device, Residency(mode, ""))
    images, masks = bank.batch(torch.tensor([4, 0, 5], device=device))
    assert images.device.type == masks.device.type == "cuda"
    np.testing.assert_array_equal(
        images.cpu().numpy(), store.planes([4, 0, 5], BANDS).astype(np.float32)
    )
    if mode != "mmap":
        assert bank.resident_bytes == predicted_bytes(6, 5, 12, 2)
