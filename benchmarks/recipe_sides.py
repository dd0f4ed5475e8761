"""Both sides of `bench_recipe.py`: our training, and the plain recipe, on the same cubes."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from plain_recipe import recipe

import hyperspec
from hyperspec import schema
from hyperspec.assembly import assemble
from hyperspec.data.datamodule import Batch
from hyperspec.material import Material
from hyperspec.training.module import SimCLR
from hyperspec.training.optimisation import build_optimizer

CONF = Path(hyperspec.__file__).parents[1] / "conf"
CPU = torch.device("cpu")
Times = dict[str, list[float]]


def config_of(root: Path, *words: str) -> schema.Train:
    schema.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF)):
        return schema.to_train(
            compose("train", ["experiment=demo", "model=resnet18", f"data.root={root}", *words])
        )


def write_split(path: Path, material: Material) -> None:
    parts = {"train": material.split.train, "test": material.split.test}
    rows = [
        f"{material.files[row]},{material.labels[row]},{part}"
        for part, chosen in parts.items()
        for row in chosen
    ]
    path.write_text("\n".join(["file,label,part", *rows, ""]))


def plain_cubes(root: Path, split: Path, bands: int, size: int) -> recipe.Cubes:
    return recipe.read_split(argparse.Namespace(root=root, split=split, bands=bands, size=size))[
        "train"
    ]


class Ours:
    """Steps of our training, with the planes read from the store as a run reads them."""

    def __init__(self, config: schema.Train, material: Material, batch: int) -> None:
        self.module: SimCLR = assemble(config, material, CPU)
        named = [*self.module.encoder.named_parameters(), *self.module.head.named_parameters()]
        self.optimizer = build_optimizer(named, self.module.optimisation)
        self.rows, self.batch = torch.as_tensor(material.split.train), batch
        self.parts: list[list[float]] = []
        if batch > len(self.rows):
            raise SystemExit(f"{len(self.rows)} training images do not fill a batch of {batch}.")

    def start(self, count: int) -> None:
        """Nothing reads ahead."""

    def stop(self) -> None:
        """Nothing to end."""

    def draw(self) -> Batch:
        return Batch(self.rows[torch.randperm(len(self.rows))[: self.batch]])

    def load(self) -> torch.Tensor:
        """Return a float32 batch; our own step does without."""
        return self.module.bank.batch(self.draw().rows)[0]

    def make(self, batch: Batch) -> list[torch.Tensor]:
        """Return both views, projected, straight from the planes."""
        return self.module.views_of(batch, torch.arange(self.batch))[0]

    def step(self) -> None:
        """Do one step and keep the seconds of its parts. Loading is a part of the views."""
        module = self.module
        clock = [time.perf_counter()]
        batch = self.draw()
        clock.append(time.perf_counter())
        made = self.make(batch)
        clock.append(time.perf_counter())
        features = module.encoder.features(torch.cat(made))
        self.optimizer.zero_grad()
        module.compare(torch.stack(features.chunk(2), dim=1))[0].backward()
        self.optimizer.step()
        clock.append(time.perf_counter())
        self.parts.append(np.diff(clock).tolist())


class Plain:
    """Steps of the recipe, with two reading processes."""

    def __init__(self, cubes: recipe.Cubes, batch: int, library: str = "kornia") -> None:
        mean, sd = recipe.moments(torch.utils.data.DataLoader(cubes, 8))
        self.views = recipe.Views(cubes.size, mean, sd)
        self.backbone, self.head, self.loss = recipe.build(len(cubes.bands), library, 0.2)
        parameters = [*self.backbone.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, 1e-3)
        self.cubes, self.batch = cubes, batch
        self.parts: list[list[float]] = []
        self.batches: Iterator[list[torch.Tensor]] = iter(())

    def start(self, count: int) -> None:
        """Start reading for so many batches and more: workers read ahead, as in a long run.

        Two of them hold four batches, and read the next as soon as one is taken. Without a next one
        the steps would be timed without the reading that goes on beside them.
        """
        sampler = torch.utils.data.RandomSampler(
            self.cubes, num_samples=(count + 6) * self.batch, replacement=True
        )
        self.batches = iter(
            torch.utils.data.DataLoader(self.cubes, self.batch, sampler=sampler, num_workers=2)
        )

    def stop(self) -> None:
        """End the workers, so that they do not disturb the other side."""
        self.batches = iter(())

    def load(self) -> torch.Tensor:
        images: torch.Tensor = next(self.batches)[0]
        return images

    @torch.no_grad()
    def make(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [self.views(images), self.views(images)]

    def step(self) -> None:
        """Do one step and keep the seconds of its parts."""
        clock = [time.perf_counter()]
        images = self.load()
        clock.append(time.perf_counter())
        one, two = self.make(images)
        clock.append(time.perf_counter())
        self.optimizer.zero_grad()
        self.loss(self.head(self.backbone(one)), self.head(self.backbone(two))).backward()
        self.optimizer.step()
        clock.append(time.perf_counter())
        self.parts.append(np.diff(clock).tolist())


def alternate(ways: dict[str, Callable[[], object]], repeats: int) -> Times:
    """Call each way in turn, once to warm up and then so often; return seconds per call."""
    found: Times = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                found[name].append(time.perf_counter() - start)
    return found


WARM_UP = 5  # calls; the first ones meet an allocator that knows no sizes yet


def in_blocks(sides: dict[str, Ours | Plain], what: str, repeats: int, count: int) -> Times:
    """Time ``side.what()`` in blocks of consecutive calls, in alternation; seconds per call.

    Both are warmed up alike. The first call of a block is left out: it waits for workers to start.
    """
    found: Times = {name: [] for name in sides}
    for side in sides.values():
        side.start(WARM_UP)
        for _ in range(WARM_UP):
            getattr(side, what)()
        side.stop()
    for _ in range(repeats):
        for name, side in sides.items():
            side.start(count)
            getattr(side, what)()
            start = time.perf_counter()
            for _ in range(count):
                getattr(side, what)()
            found[name].append((time.perf_counter() - start) / count)
            side.stop()
    return found


def summary(times: Times) -> dict[str, dict[str, float]]:
    """Return median and spread (smallest, largest) of each way, and its ratio to ``plain``."""
    base = statistics.median(times["plain"])
    return {
        name: {
            "median": statistics.median(values),
            "low": min(values),
            "high": max(values),
            "ratio": base / statistics.median(values),
        }
        for name, values in times.items()
    }


def show(title: str, found: dict[str, dict[str, float]]) -> None:
    print(title)
    for name, row in found.items():
        print(
            f"  {name:28} {row['median']:9.4f} s  [{row['low']:.4f}, {row['high']:.4f}]  "
            f"{row['ratio']:6.1f} x",
            flush=True,
        )


def timed(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Run a command; return its seconds, peak memory in MB (with its children), and output."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    script = (
        "import resource, subprocess, sys; "
        "code = subprocess.call(sys.argv[1:]); "
        "print('PEAK', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024); "
        "sys.exit(code)"
    )
    done = subprocess.run(
        ["python3", "-c", script, *command],
        cwd=folder, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    peak = float(done.stdout.rsplit("PEAK", 1)[1])
    return time.perf_counter() - start, peak, done.stdout
