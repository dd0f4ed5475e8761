"""Both sides of `bench_recipe.py`: our training, and the plain recipe, on the same cubes."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from plain_recipe import recipe
from recipe_process import Process

import hyperspec
from hyperspec.config import groups, schema
from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.runs.experiment import prepare
from hyperspec.training.allocator import heap_for_steps
from hyperspec.training.builders import assemble
from hyperspec.training.data import Material
from hyperspec.training.optimizer import build_optimizer
from hyperspec.training.simclr import SimCLR

CONF = Path(hyperspec.__file__).parents[1] / "conf"
CPU = torch.device("cpu")
Times = dict[str, list[float]]


def config_of(root: Path, *words: str) -> schema.Train:
    groups.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF)):
        return groups.to_train(
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


def material_of(root: Path, folder: Path, *words: str) -> tuple[schema.Train, Material]:
    """Return config and prepared data, and leave the split for the recipe in ``folder``."""
    config = config_of(root, *words, f"data.cache_dir={folder}/cache")
    material = prepare(config)
    write_split(folder / "split.csv", material)
    return config, material


class Ours:
    """Steps of our training, with the planes read from the store as a run reads them.

    Args:
        root: The cubes.
        folder: Where the store is, or will be.
        words: Of the config.
        batch: Images of a step.
        short: Whether the backbone computes in bf16.
    """

    def __init__(
        self, root: Path, folder: Path, words: list[str], batch: int, short: bool = False
    ) -> None:
        config, material = material_of(root, folder, *words)
        self.module: SimCLR = assemble(config, material, CPU)
        named = [*self.module.encoder.named_parameters(), *self.module.head.named_parameters()]
        self.optimizer = build_optimizer(named, self.module.optimisation)
        self.rows, self.batch, self.short = torch.as_tensor(material.split.train), batch, short
        self.parts: list[list[float]] = []
        if batch > len(self.rows):
            raise SystemExit(f"{len(self.rows)} training images do not fill a batch of {batch}.")
        self._one = self._draw()
        self._heap = heap_for_steps(CPU, None)  # as training does; left when the process ends
        self._heap.__enter__()

    def _draw(self) -> Batch:
        return Batch(self.rows[torch.randperm(len(self.rows))[: self.batch]])

    def load(self) -> torch.Tensor:
        """Return a float32 batch; our own step does without."""
        return self.module.bank.batch(self._draw().rows)[0]

    @torch.no_grad()
    def views(self) -> list[torch.Tensor]:
        """Return both views of one batch, projected, straight from the planes."""
        return self._make(self._one)

    def _make(self, batch: Batch) -> list[torch.Tensor]:
        return self.module.views_of(batch, torch.arange(self.batch))[0]

    def step(self) -> None:
        """Do one step and keep the seconds of its parts. Loading is a part of the views."""
        module = self.module
        clock = [time.perf_counter()]
        batch = self._draw()
        clock.append(time.perf_counter())
        with torch.autocast("cpu", torch.bfloat16, enabled=self.short):
            made = self._make(batch)
            clock.append(time.perf_counter())
            features = module.encoder.features(torch.cat(made))
            loss = module.compare(torch.stack(features.chunk(2), dim=1))[0]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        clock.append(time.perf_counter())
        self.parts.append(np.diff(clock).tolist())


class Plain:
    """Steps of the recipe, with two reading processes.

    Args:
        root: The cubes.
        folder: Where the split is.
        bands: Number of bands.
        size: Lines and samples of an image.
        batch: Images of a step.
        library: ``kornia`` or ``lightly``.
    """

    def __init__(
        self, root: Path, folder: Path, bands: int, size: int, batch: int, library: str = "kornia"
    ) -> None:
        cubes = plain_cubes(root, folder / "split.csv", bands, size)
        # Reading processes stay, as in a run, and wait once four batches are read ahead; each batch
        # that is taken has them read the next beside the step.
        sampler = torch.utils.data.RandomSampler(cubes, replacement=True, num_samples=10**9)
        self._batches = iter(
            torch.utils.data.DataLoader(cubes, batch, sampler=sampler, num_workers=2)
        )
        mean, sd = recipe.moments(torch.utils.data.DataLoader(cubes, 8))
        self.augment = recipe.Views(size, mean, sd)
        self.backbone, self.head, self.loss = recipe.build(bands, library, 0.2)
        parameters = [*self.backbone.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, 1e-3)
        self.parts: list[list[float]] = []
        self._one: tuple[torch.Tensor, torch.Tensor] | None = None

    def load(self) -> tuple[torch.Tensor, torch.Tensor]:
        images, masks, _ = next(self._batches)
        return images, masks

    def views(self) -> list[torch.Tensor]:
        """Return both views of one batch, which is read before."""
        if self._one is None:
            self._one = self.load()
        return self._make(*self._one)

    @torch.no_grad()
    def _make(self, images: torch.Tensor, masks: torch.Tensor) -> list[torch.Tensor]:
        return [self.augment(images, masks), self.augment(images, masks)]

    def step(self) -> None:
        """Do one step and keep the seconds of its parts."""
        self._one = None  # a run holds no such batch
        clock = [time.perf_counter()]
        images, masks = self.load()
        clock.append(time.perf_counter())
        one, two = self._make(images, masks)
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


def in_blocks(
    sides: dict[str, Process], what: str, repeats: int, count: int, lead: int = 1
) -> Times:
    """Time ``side.what()`` in blocks of consecutive calls, in alternation; seconds per call.

    The first ``lead`` calls of each block are left out.
    """
    found: Times = {name: [] for name in sides}
    for side in sides.values():
        side.warm(what)
    for _ in range(repeats):
        for name, side in sides.items():
            found[name].append(side.time(what, count, lead))
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
