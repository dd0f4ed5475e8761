"""A training step beside those of other libraries, and beside its limit: `make bench-step-sides`.

    python benchmarks/bench_step_sides.py --bands 10 50 408 --repeats 3

ResNet-18, AdamW, batches of the same specimens, float32. Each side has a process of its own; they
take turns, and processor time counts (of the training process), so that other work on the machine
costs no side more:
  ours            the whole step: planes from the store, both views, forward, backward, optimizer
  three channels  the limit: torchvision's ResNet-18 and NT-Xent on two ready views of 3 channels;
                  nothing is loaded or augmented
  lightly         its NTXentLoss and projection head over a ResNet with n channels; the views are
                  the plain recipe's, by kornia's classes (lightly's own are for RGB pictures)
  torchgeo        its SimCLRTask with n channels and its own augmentations (kornia's classes)
The last two find their batch ready in memory, which favours them. A side that is not installed is
left out, and the record says why. `--widths 8 16` adds ours with so many channels behind the stem
instead of 32.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import record
import torch
from plain_recipe import recipe
from recipe_process import Process
from recipe_sides import Ours, material_of, plain_cubes
from torch import Tensor, nn

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

BATCH, SIZE, TEMPERATURE = 64, 64, 0.2
# torchgeo declares `lightning` and a dozen readers: these are what its trainers import.
INSTALL = (
    "pip install --no-deps --target build/sides torchgeo lightly timm geopandas shapely pyproj "
    "einops segmentation-models-pytorch huggingface-hub httpx2 httpcore2 safetensors truststore, "
    "and PYTHONPATH=build/sides"
)


def import_torchgeo() -> Any:
    """Return torchgeo's task; under the name `lightning` it gets `pytorch_lightning`."""
    import pytorch_lightning
    import pytorch_lightning.utilities.types

    whole, inside = "lightning", "pytorch_lightning"
    if whole not in sys.modules:
        sys.modules[whole] = ModuleType(whole)
        sys.modules[whole].pytorch = pytorch_lightning  # type: ignore[attr-defined]
        for name in [key for key in sys.modules if key.split(".")[0] == inside]:
            sys.modules[f"{whole}.pytorch{name.removeprefix(inside)}"] = sys.modules[name]
    from torchgeo.trainers import SimCLRTask

    return SimCLRTask


def import_lightly() -> Any:
    from lightly.loss import NTXentLoss

    return NTXentLoss


LIBRARIES: dict[str, Callable[[], Any]] = {"lightly": import_lightly, "torchgeo": import_torchgeo}


class Ready(ABC):
    """Steps on a batch that is in memory.

    Args:
        root: The cubes.
        folder: Where the split is.
        bands: Number of bands.
    """

    def __init__(self, root: Path, folder: Path, bands: int) -> None:
        self.parts: list[list[float]] = []
        self.images, self.masks = batch_of(root, folder, bands)
        self.model = self.build(bands)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)

    @abstractmethod
    def build(self, bands: int) -> nn.Module:
        """Return the model for so many bands."""

    @abstractmethod
    def loss(self) -> Tensor:
        """Return the loss of the batch, with its gradient's graph."""

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.loss().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


class ThreeChannels(Ready):
    def build(self, bands: int) -> nn.Module:
        backbone, head, self.compare = recipe.build(3, "kornia", TEMPERATURE)
        self.ready = [torch.randn(BATCH, 3, SIZE, SIZE) for _ in range(2)]
        return nn.Sequential(backbone, head)

    def loss(self) -> Tensor:
        found: Tensor = self.compare(*(self.model(view) for view in self.ready))
        return found


class Lightly(Ready):
    def build(self, bands: int) -> nn.Module:
        backbone, head, self.compare = recipe.build(bands, "lightly", TEMPERATURE)
        mean = self.images.mean((0, 2, 3))
        self.views = recipe.Views(SIZE, mean, torch.full_like(mean, 0.2))
        return nn.Sequential(backbone, head)

    def loss(self) -> Tensor:
        with torch.no_grad():
            views = [self.views(self.images, self.masks) for _ in range(2)]
        found: Tensor = self.compare(*(self.model(view) for view in views))
        return found


class Torchgeo(Ready):
    def build(self, bands: int) -> nn.Module:
        task: nn.Module = import_torchgeo()(
            model="resnet18", in_channels=bands, version=1, layers=2, hidden_dim=512,
            output_dim=128, temperature=TEMPERATURE, memory_bank_size=0, size=SIZE,
        )  # fmt: skip
        return task

    def loss(self) -> Tensor:
        found: Tensor = self.model.training_step({"image": self.images}, 0)  # type: ignore[operator]
        return found


SIDES = {"three channels": ThreeChannels, "lightly": Lightly, "torchgeo": Torchgeo}


def batch_of(root: Path, folder: Path, bands: int) -> tuple[Tensor, Tensor]:
    cubes = plain_cubes(root, folder / "split.csv", bands, SIZE)
    images, masks, _ = next(iter(torch.utils.data.DataLoader(cubes, BATCH)))
    return images, masks


def installed() -> dict[str, str]:
    """Return why a library cannot be a side, by name."""
    missing = {}
    for name, load in LIBRARIES.items():
        try:
            load()
        except ImportError as error:
            missing[name] = f"{error}. To have it: {INSTALL}"
            print(f"{name} is left out: {missing[name]}", flush=True)
    return missing


def measure(
    root: Path, folder: Path, bands: int, names: list[str], widths: list[int], repeats: int
) -> dict[str, Any]:
    words = [f"data.size={SIZE}", f"bands.n={bands}", f"batch_size={BATCH}"]
    material_of(root, folder, *words)
    sides = {name: Process(SIDES[name], root, folder, bands) for name in names}
    sides["ours"] = Process(Ours, root, folder, words, BATCH)
    for width in widths:
        stem = f"model.stem_channels={width}"
        sides[stem] = Process(Ours, root, folder, [*words, stem], BATCH)
    times: dict[str, list[float]] = {name: [] for name in sides}
    try:
        for turn in range(repeats):
            for name, side in sides.items():
                lead = 2 if turn == 0 else 0
                times[name].append(side.processor_time("step", 1, lead))
        peaks = {name: side.peak_mb() for name, side in sides.items()}
    finally:
        for side in sides.values():
            side.close()
    ratios = {
        name: statistics.median(a / b for a, b in zip(values, times["ours"], strict=True))
        for name, values in times.items()
    }
    for name, values in times.items():
        print(
            f"{bands:4} bands  {name:22} {statistics.median(values):7.2f} s  "
            f"{ratios[name]:5.2f} x ours, {peaks[name]:.0f} MB",
            flush=True,
        )
    return {"bands": bands, "seconds": times, "times_ours": ratios, "peak_memory_mb": peaks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bands", type=int, nargs="+", default=[10, 50, 408])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--widths", type=int, nargs="*", default=[], help="ours with other widths of the stem, too"
    )
    parser.add_argument("--folder", type=Path, help="on the disk to measure (a temporary one)")
    words = parser.parse_args()
    warnings.filterwarnings("ignore")
    missing = installed()
    names = [name for name in SIDES if name not in missing]
    packages = ("torch", "torchvision", "kornia", "timm", *LIBRARIES)
    cases = []
    with tempfile.TemporaryDirectory(prefix="bench-sides-", dir=words.folder) as name:
        folder = Path(name)
        root = folder / "cubes"
        synthesise(root, SynthSettings(num_specimens=12, size=72))  # 0.4 of the 192 images train
        for bands in words.bands:
            cases.append(measure(root, folder, bands, names, words.widths, words.repeats))
            found = {**record.context(packages), "threads": torch.get_num_threads()}
            found |= {"batch": BATCH, "size": SIZE, "left_out": missing, "cases": cases}
            path = record.write("step_sides", found)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
