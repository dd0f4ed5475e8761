"""Training itself: from a module and its data to weights in a checkpoint."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar

from hyperspec.config.schema import Train
from hyperspec.runs.planning.logged import foretell
from hyperspec.spectra.projection import BandProjection, selection_from_dict
from hyperspec.spectra.selection import BandSelection
from hyperspec.tracking.contract import Folder, Param
from hyperspec.tracking.lightning_logger import RunLogger
from hyperspec.tracking.run import JobRun
from hyperspec.tracking.system_metrics import SystemMetrics
from hyperspec.training.allocator import heap_for_steps
from hyperspec.training.callbacks.band_sampling import BandSampling
from hyperspec.training.callbacks.guards import CheckCachedGradient, NoticeCollapse
from hyperspec.training.callbacks.monitoring import (
    CostMeter,
    GradientNorm,
    StopOnNonFinite,
    Validate,
)
from hyperspec.training.callbacks.optimizer_state import Moments
from hyperspec.training.checkpoint import AtomicCheckpointIO, read_checkpoint
from hyperspec.training.data import Material
from hyperspec.training.datamodule import LoaderSettings, SpecimenData
from hyperspec.training.ddp import strategy
from hyperspec.training.growth import grow_from
from hyperspec.training.scorer import Scorer
from hyperspec.training.session import Session
from hyperspec.training.simclr import SimCLR
from hyperspec.training.sync_batchnorm import synchronise
from hyperspec.utils.distributed import alone, world
from hyperspec.utils.errors import ModelError
from hyperspec.utils.terminal import bars_wanted

log = logging.getLogger(__name__)


CHECKPOINT = "last.ckpt"


def quieten() -> None:
    """Keep Lightning's tips and device tables out of a sweep's log, where every job repeats them.

    Both warnings are of Lightning's own use of torch, and nothing of ours can mend them.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    # DDP copies gradients of 1x1 kernels, whose layouts are alike: they are small.
    warnings.filterwarnings("ignore", r"Grad strides do not match bucket view strides")


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    Args:
        epochs: Epochs in all, those before ``ckpt`` included.
        ckpt: Checkpoint to continue from.
        name: File that the checkpoint at its end is written to.
        moments: Optimizer state by parameter name to start with, when there is no ``ckpt``.
    """

    epochs: int
    ckpt: str | None = None
    name: str = CHECKPOINT
    moments: Mapping[str, Any] | None = None


def begin(stage: Stage, config: Train, material: Material, module: SimCLR, run: JobRun) -> Stage:
    """Return what a training starts from when its checkpoint may be of other bands.

    With the same bands the checkpoint is continued. With others the module takes over what it can
    (see :mod:`hyperspec.training.growth`), and this run's epochs, rate and schedule begin anew.
    """
    if stage.ckpt is None:
        return stage
    checkpoint = read_checkpoint(stage.ckpt)
    if same_bands(checkpoint, module):
        return stage
    moments = grow_from(stage.ckpt, checkpoint, config, material, module, run)
    return replace(stage, ckpt=None, moments=moments)


def watch(config: Train, scorer: Scorer, session: Session) -> list[pl.Callback]:
    """Return what watches the training of an encoder on its final bands."""
    found: list[pl.Callback] = [GradientNorm(config.log_every_n_steps)]
    if config.model.sampling_minimum is not None:
        found.append(BandSampling(config.model.sampling_minimum, config.seed))
    every = config.evaluation.every_n_epochs
    found.append(Validate(scorer.validate, every, session.report, scorer.best))
    return [*found, *session.callbacks]


def fit(
    config: Train,
    material: Material,
    module: SimCLR,
    run: JobRun,
    output_dir: Path,
    stage: Stage,
    watchers: Sequence[pl.Callback] = (),
) -> dict[str, float]:
    """Train, write the checkpoint, and return what it cost.

    Within a group of processes each calls it; rank 0 logs and writes.
    """
    hardware, (rank, processes) = config.hardware, world()
    data = SpecimenData(
        module.bank,
        material.split,
        config.batch_size,
        config.seed,
        LoaderSettings(
            hardware.read_threads,
            hardware.num_workers,
            hardware.pin_memory,
            hardware.persistent_workers,
            hardware.prefetch_factor,
        ),
        whole=hardware.micro_batch is None,
    )
    if hardware.plan and rank == 0:
        with alone():
            foretell(config, material, module, run)
    if processes > 1 and (count := synchronise(module.encoder)):
        log.info("%d BatchNorm layers use the statistics of all %d devices", count, processes)
    if hardware.compile:
        module.encoder.backbone.compile()
    run.log_params({Param.NUM_FEATURES: str(module.encoder.num_features)})
    cost = CostMeter()
    check_every = config.log_every_n_steps if module.device.type == "cuda" else 1
    callbacks = [
        cost,
        StopOnNonFinite(material.files, check_every),
        Moments(stage.moments),
        NoticeCollapse(config.log_every_n_steps, run.set_tags),
        *([CheckCachedGradient()] if hardware.check_micro_batch else []),
        *watchers,
    ]
    if config.tracking.system_metrics and rank == 0:
        callbacks.append(SystemMetrics(run))
    bars = bars_wanted() and rank == 0
    if bars:
        callbacks.append(RichProgressBar())
    trainer = pl.Trainer(
        accelerator=hardware.accelerator,
        devices=processes,
        strategy=strategy(),
        precision=hardware.precision,  # type: ignore[arg-type]  # Lightning checks the name
        max_epochs=stage.epochs,
        accumulate_grad_batches=hardware.accumulate,
        gradient_clip_val=config.clip_norm,
        log_every_n_steps=min(config.log_every_n_steps, len(data.batches)),
        logger=RunLogger(run) if rank == 0 else False,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=output_dir,
        enable_checkpointing=False,  # one checkpoint at the end, written below
        enable_progress_bar=bars,
        enable_model_summary=False,
        use_distributed_sampler=False,  # EpochBatches shares out the batches itself
    )
    if stage.ckpt is not None:
        check_same_bands(read_checkpoint(stage.ckpt), module, stage.ckpt)
    with heap_for_steps(module.device, hardware.micro_batch):
        trainer.fit(module, datamodule=data, ckpt_path=stage.ckpt)
    module.to(module.bank.device)  # Lightning leaves it on the CPU
    trainer.save_checkpoint(output_dir / stage.name)
    for name in (stage.name, f"{stage.name}.sha256"):
        run.log_artifact(output_dir / name, Folder.CHECKPOINTS)
    return cost.metrics


def check_same_bands(checkpoint: dict[str, Any], module: SimCLR, path: str) -> None:
    """Refuse a checkpoint that was trained on other bands.

    Raises:
        ModelError: If it was; the message lists both sets.
    """
    if not same_bands(checkpoint, module):
        before = selection_from_dict(checkpoint["hyperspec"]["bands"])
        now = selection_from_dict(module.facts["bands"])
        differences = "; ".join(before.axis.differences(now.axis)) or "same axis"
        raise ModelError(
            f"ckpt='{path}' was trained on {len(before)} bands (bands={before.strategy}, "
            f"{before.wavelengths_nm.min():.1f}-{before.wavelengths_nm.max():.1f} nm), this run "
            f"has {len(now)} (bands={now.strategy}, {now.wavelengths_nm.min():.1f}-"
            f"{now.wavelengths_nm.max():.1f} nm; {differences}). Use the same bands, or start "
            "anew with ckpt=null."
        )


def same_bands(checkpoint: dict[str, Any], module: SimCLR) -> bool:
    """Say whether a checkpoint was trained on the bands that a module takes."""
    before = selection_from_dict(checkpoint["hyperspec"]["bands"])
    now = selection_from_dict(module.facts["bands"])
    same = before.indices == now.indices and before.axis == now.axis
    return same and _same_weights(before, now)


def _same_weights(one: BandSelection, other: BandSelection) -> bool:
    if isinstance(one, BandProjection) and isinstance(other, BandProjection):
        # Eigenvectors of the same data differ by rounding between machines.
        same = one.matrix.shape == other.matrix.shape
        return same and np.allclose(one.matrix, other.matrix, atol=1e-6)
    return isinstance(one, BandProjection) == isinstance(other, BandProjection)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Use so many CPU threads inside; a process that runs several jobs gets its own back."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
