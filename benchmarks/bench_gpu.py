"""Steps and a sweep on one data-centre GPU, against its limits: `make bench-gpu`.

    python benchmarks/bench_gpu.py                         # n = 408, 224 px, ResNet-50, bf16
    python benchmarks/bench_gpu.py --device cpu --tiny     # the same code, seconds, no figures

Prints, for one training step with the `projection` stem: the share of the input pipeline (convert
a batch), of the views, of forward and backward; the ratio to the same ResNet-50 on ready
3-channel tensors; beside each stage the floor that its bytes over the measured copy rate and its
operations over the measured rate of matrix products set, and the model's FLOP utilisation.
Targets: input under 5% of the step, views at most 15%, step at most 1.3x of the 3-channel one. Then
the sweep of `bench_recipe.py` with both sides on the GPU (target: 10x).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hyperspec.losses.nt_xent import NtXent
from hyperspec.models.config import HeadConfig, ResNetConfig
from hyperspec.models.encoder import Encoder, build_encoder
from hyperspec.models.heads import build_head
from hyperspec.training.optimizer import Optimisation, build_optimizer
from hyperspec.transforms.augment import Views
from hyperspec.transforms.config import ViewsConfig

TARGETS = {"input_share": 0.05, "views_share": 0.15, "ratio_to_3_channels": 1.3}


@dataclass(frozen=True)
class Shape:
    """What is measured."""

    model: str = "resnet50"
    bands: int = 408
    size: int = 224
    batch: int = 128
    specimens: int = 256
    matrix: int = 8192
    copied: int = 2**30


TINY = Shape("resnet18", 12, 32, 4, 6, 64, 2**16)


class Clock:
    """Times on a device; a GPU is waited for at both ends of a repeat, not inside."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def __call__(self, way: Callable[[], object], inner: int = 1) -> dict[str, float]:
        """Return median and spread in seconds of a call, after two to warm up."""
        found = []
        for turn in range(self.repeats + 2):
            self.wait()
            start = time.perf_counter()
            for _ in range(inner):
                way()
            self.wait()
            if turn > 1:
                found.append((time.perf_counter() - start) / inner)
        return {"median": statistics.median(found), "low": min(found), "high": max(found)}


def rates(clock: Clock, shape: Shape) -> dict[str, float]:
    """Measure copied bytes per second (read plus write) and FLOP per second of bf16 products."""
    source = torch.empty(shape.copied, dtype=torch.uint8, device=clock.device)
    target = torch.empty_like(source)
    one = torch.randn(shape.matrix, shape.matrix, device=clock.device, dtype=torch.bfloat16)
    copied = clock(lambda: target.copy_(source), 5)["median"]
    product = clock(lambda: one @ one, 5)["median"]
    return {"bytes_per_s": 2 * shape.copied / copied, "flop_per_s": 2 * shape.matrix**3 / product}


class Step:
    """A training step as hyperspec does it on a GPU: planes on the device, mixed bf16."""

    def __init__(self, shape: Shape, device: torch.device, bands: int | None = None) -> None:
        self.shape, self.device = shape, device
        nm = np.linspace(350.0, 1000.0, bands or shape.bands)
        stem = "projection" if bands is None else "inflate"
        self.encoder: Encoder = build_encoder(ResNetConfig(shape.model, stem=stem), nm)
        self.encoder.to(memory_format=torch.channels_last).to(device)  # type: ignore[call-overload]
        self.head = build_head(HeadConfig(), self.encoder.num_features).to(device)
        self.loss = NtXent(0.2)
        named = [*self.encoder.named_parameters(), *self.head.named_parameters()]
        self.optimizer = build_optimizer(named, Optimisation(1e-3))
        self.views = Views(ViewsConfig(), nm, shape.size).to(device)
        self.scale = torch.full((len(nm),), 2.0, device=device)
        self.offset = torch.full((len(nm),), -1.0, device=device)

    def bank(self) -> tuple[Tensor, Tensor]:
        shape = self.shape
        size = (shape.specimens, shape.bands, shape.size, shape.size)
        planes = torch.empty(size, dtype=torch.float16, device=self.device)
        for one in planes:  # a random float32 copy of all would not fit beside it
            one.uniform_(0.0, 1.0)
        masks = torch.ones(shape.specimens, 1, shape.size, shape.size, dtype=torch.bool)
        return planes, masks.to(self.device)

    def load(self, planes: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.randint(0, len(planes), (self.shape.batch,))
        images = planes.new_empty(len(rows), *planes.shape[1:], dtype=torch.bfloat16)
        for place, row in enumerate(rows.tolist()):  # as PlaneBank does
            images[place].copy_(planes[row])
        return images, masks[rows.to(self.device, non_blocking=True)]

    def make(self, images: Tensor, masks: Tensor) -> Tensor:
        weight, made = self.encoder.projection_weight, []
        assert weight is not None
        for _ in range(2):
            params = self.views.draw(len(images), device=self.device)
            z = self.views.project_view(images, masks, weight, self.scale, self.offset, params)
            made.append(self.views.warp(z, params))
        return torch.cat(made)

    def train(self, views: Tensor) -> None:
        loss = self.loss(*self.head(self.encoder.features(views)).chunk(2))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def measure(shape: Shape, device: torch.device, repeats: int) -> dict[str, Any]:
    """Time the stages of a step, a whole one, and one on ready 3-channel tensors."""
    clock = Clock(device, repeats)
    limit = rates(clock, shape)
    ours, ready = Step(shape, device), Step(shape, device, bands=3)
    planes, masks = ours.bank()
    colours = torch.randn(2 * shape.batch, 3, shape.size, shape.size, device=device)
    colours = colours.contiguous(memory_format=torch.channels_last)

    def short() -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16)

    def whole() -> None:
        with short():
            ours.train(ours.make(*ours.load(planes, masks)))

    def three() -> None:
        with short():
            ready.train(colours)

    images, chosen = ours.load(planes, masks)

    def views() -> None:
        with short(), torch.no_grad():
            ours.make(images, chosen)

    stages = {
        "input": clock(lambda: ours.load(planes, masks)),
        "views": clock(views),
        "step": clock(whole),
        "step_3_channels": clock(three),
    }
    pixels = shape.batch * shape.size**2
    with FlopCounterMode(display=False) as counter:
        three()
    flop = counter.get_total_flops()
    # Two bytes read and written per value; views read them twice and write 32 channels.
    moved = {"input": 4 * pixels * shape.bands, "views": 2 * pixels * (2 * shape.bands + 2 * 32)}
    step = stages["step"]["median"]
    return {
        "shape": vars(shape),
        "limits": limit,
        "seconds": stages,
        "floors_s": {name: size / limit["bytes_per_s"] for name, size in moved.items()}
        | {"step_3_channels": flop / limit["flop_per_s"]},
        "flop_3_channels": flop,
        "utilisation_3_channels": flop / stages["step_3_channels"]["median"] / limit["flop_per_s"],
        "utilisation": flop / step / limit["flop_per_s"],
        "input_share": stages["input"]["median"] / step,
        "views_share": stages["views"]["median"] / step,
        "ratio_to_3_channels": step / stages["step_3_channels"]["median"],
        "peak_memory_mb": torch.cuda.max_memory_allocated() / 1e6
        if device.type == "cuda"
        else None,
    }


def show(found: dict[str, Any]) -> None:
    limit = found["limits"]
    print(
        f"copies {limit['bytes_per_s'] / 1e12:.2f} TB/s, bf16 products "
        f"{limit['flop_per_s'] / 1e12:.0f} TFLOP/s"
    )
    for name, row in found["seconds"].items():
        floor = found["floors_s"].get(name)
        beside = "" if floor is None else f"   floor {1e3 * floor:8.2f} ms"
        print(
            f"{name:16} {1e3 * row['median']:9.2f} ms [{1e3 * row['low']:.2f}, "
            f"{1e3 * row['high']:.2f}]{beside}"
        )
    print(
        f"model FLOP utilisation {found['utilisation']:.0%} "
        f"(3 channels: {found['utilisation_3_channels']:.0%})"
    )
    for name, most in TARGETS.items():
        verdict = "met" if found[name] <= most else "missed"
        print(f"{name}: {found[name]:.3f}, target <= {most}: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that only try the code")
    parser.add_argument("--batch", type=int, help="specimens of a step (128)")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--no-sweep", action="store_true", help="leave the whole sweep out")
    words = parser.parse_args()
    if words.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device; --device cpu --tiny tries the code without one")
    warnings.filterwarnings("ignore")
    shape = TINY if words.tiny else Shape(batch=words.batch or Shape.batch)
    found = measure(shape, torch.device(words.device), words.repeats)
    show(found)
    if not (words.tiny or words.no_sweep):
        from recipe_sweep import measure_sweep

        with tempfile.TemporaryDirectory(prefix="bench-gpu-") as name:
            *_, found["sweep"] = measure_sweep(
                Path(name), [0, 1, 2], ["kornia"], 50, device=words.device
            )
    if not words.tiny:
        context = record.context(("torch", "torchvision", "kornia"))
        context["gpu"] = torch.cuda.get_device_name() if words.device == "cuda" else None
        print(f"wrote {record.write('gpu', {**context, **found})}")


if __name__ == "__main__":
    main()
