"""Golden numbers of whole small trainings, in float64 through the code that a job runs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import torch
from golden_material import AXIS, material_of
from golden_record import Run
from golden_runs import in_float64, weighted
from torch.nn import functional

from hyperspec.bands import Learned, PcaProjection, Uniform
from hyperspec.config.hardware import Hardware
from hyperspec.config.schema import StageSpec, Train
from hyperspec.datasets.catalogue.labels import NoLabels
from hyperspec.datasets.config import FolderData
from hyperspec.datasets.loading import packed_planes as stored
from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.evaluation.config import Evaluation
from hyperspec.losses.config import CombinedConfig, NtXentConfig, VicRegConfig
from hyperspec.models.config import HeadConfig, TinyConfig
from hyperspec.runs.experiment import execute
from hyperspec.runs.identity import parts_of
from hyperspec.tracking.config import TrackingConfig
from hyperspec.tracking.null_run import NullRun
from hyperspec.training.context import RunContext
from hyperspec.training.embedder import Embedder
from hyperspec.training.simclr import SimCLR
from hyperspec.transforms.config import CrossModalViews, ViewsConfig

KEPT = ("train/loss", "search/loss", "grad_norm/", "growth/cosine")
HARDWARE = Hardware(accelerator="cpu", threads=1)
FIRST = Train(
    data=FolderData(root="golden", labels=NoLabels()),
    bands=Uniform(6),
    model=TinyConfig(),
    head=HeadConfig(dim=16),
    loss=NtXentConfig(temperature=0.2),
    views=ViewsConfig(),
    hardware=HARDWARE,
    tracking=TrackingConfig(system_metrics=False),
    evaluation=Evaluation(k=3, linear=False, controls=False),
    batch_size=8,
    epochs=2,
    lr=1e-3,
    log_every_n_steps=1,
)
GROUP = TinyConfig(norm="group")
WAVELENGTH = TinyConfig(stem="wavelength")
CONFIGS: dict[str, Train] = {
    "training/plain": FIRST,
    "training/clipped": replace(FIRST, clip_norm=0.5, warmup_steps=1, loss=VicRegConfig()),
    "bands.pca_projection/trained": replace(FIRST, bands=PcaProjection(4), epochs=1),
    "losses.combined/trained": replace(FIRST, loss=CombinedConfig(local_dim=8), epochs=1),
    "training.micro_batch/trained": replace(
        FIRST, model=GROUP, hardware=replace(HARDWARE, micro_batch=3), epochs=1
    ),
    "views.cross_modal/trained": replace(
        FIRST,
        views=CrossModalViews(windows_nm={"low": [340.0, 550.0], "high": [550.0, 810.0]}),
        epochs=1,
    ),
    "views.cross_modal/attention": replace(
        FIRST,
        views=CrossModalViews(
            windows_nm={"low": [340.0, 550.0], "high": [550.0, 810.0]}, fusion="attention"
        ),
        model=WAVELENGTH,
        epochs=1,
    ),
    "bands.learned/trained": replace(FIRST, bands=Learned(3, lr=0.1), epochs=4),
    "training.schedule/trained": replace(
        FIRST, schedule=[StageSpec(1, 3), StageSpec(2, 6)], epochs=2
    ),
    "training.band_sampling/trained": replace(
        FIRST, model=replace(WAVELENGTH, sampling_minimum=2), epochs=1
    ),
    "evaluation.importance/mean": replace(
        FIRST, evaluation=replace(FIRST.evaluation, importance=True,
                                  importance_window_nm=100.0), epochs=1
    ),
    "evaluation.curve/points": replace(
        FIRST, model=WAVELENGTH, epochs=1,
        evaluation=replace(FIRST.evaluation, curve_strategies=["uniform"], curve_counts=[3, 9]),
    ),
    "evaluation.controls/trained": replace(
        FIRST, evaluation=replace(FIRST.evaluation, controls=True), epochs=1
    ),
}  # fmt: skip


class Recording(NullRun):
    """A run that keeps in memory what is logged to it."""

    def __init__(self) -> None:
        super().__init__("golden", "golden")
        self.metrics: dict[str, float] = {}
        self.tables: dict[str, pd.DataFrame] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self.metrics |= {f"{name}@{step}": float(value) for name, value in metrics.items()}

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        if path.suffix == ".csv":
            self.tables[path.name] = pd.read_csv(path)


@contextmanager
def whole_float64() -> Iterator[None]:
    """Let a training compute in float64: new tensors, planes, and what is asked to be float.

    Lightning's own float64 takes no frozen dataclass as a batch.
    """
    batch, moved, call = PlaneBank.batch, PlaneBank.to_device, Embedder.__call__
    wide = torch.float64
    quiet = logging.getLogger("hyperspec")
    before = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with (
            in_float64(0),
            patch.object(torch.Tensor, "float", torch.Tensor.double),
            patch.object(torch, "float32", wide),
            patch.object(stored, "_product", functional.linear),  # oneDNN has no float64
            patch.object(SimCLR, "_pixel_type", lambda self: wide),
            patch.object(PlaneBank, "batch", lambda s, rows, dtype=wide: batch(s, rows, wide)),
            patch.object(PlaneBank, "to_device", lambda s, x, m, dtype=wide: moved(s, x, m, wide)),
            patch.object(Embedder, "__call__", lambda s, x, m=None: call(s, x.double(), m)),
        ):
            yield
    finally:
        quiet.setLevel(before)


def context_of(config: Train, run: Recording, folder: Path | str) -> RunContext:
    """Return what the training of a config is given, on the CPU."""
    return RunContext(config, material_of(config.bands), torch.device("cpu"), run, Path(folder))


def train(name: str, config: Train) -> dict[str, float]:
    """Return each step's loss and gradient norm, and the scores that the run's part stands for."""
    run = Recording()
    with whole_float64(), tempfile.TemporaryDirectory() as folder:
        execute(context_of(config, run, folder))
    return _kept(name, run)


def grow() -> dict[str, float]:
    """Return the numbers of a training on more bands than that of its checkpoint."""
    run = Recording()
    with whole_float64(), tempfile.TemporaryDirectory() as folder:
        first = replace(FIRST, epochs=1)
        execute(context_of(first, Recording(), folder))
        more = replace(first, bands=Uniform(9), ckpt=str(Path(folder) / "last.ckpt"))
        execute(context_of(more, run, Path(folder) / "more"))
    return _kept("training.growth/continued", run)


def _kept(name: str, run: Recording) -> dict[str, float]:
    kept = KEPT
    if name.startswith("evaluation."):
        kept = (f"{name.split('.')[1].split('/')[0]}/", "control/")
    found = {f"{name} {k}": v for k, v in run.metrics.items() if k.startswith(kept)}
    for table in run.tables.values():
        numbers = table.select_dtypes("number")
        found |= {f"{name} {column}": weighted(numbers[column].fillna(0)) for column in numbers}
    if name.startswith("training/"):
        found[f"{name} rankme"] = next(v for k, v in run.metrics.items() if "test/rankme" in k)
    assert found, f"{name} logged none of {kept}, but {sorted(run.metrics)}"
    return found


def _run(name: str, config: Train, slow: bool = False) -> Run:
    return Run(partial(train, name, config), tuple(parts_of(config)), slow=slow)


RUNS: dict[str, Run] = {
    **{name: _run(name, config) for name, config in CONFIGS.items()},
    "training.growth/continued": Run(grow, tuple(parts_of(FIRST))),
}
assert len(AXIS) >= 9, "the growth needs nine bands"
