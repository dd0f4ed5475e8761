"""Training itself: from a module and its data to weights in a checkpoint."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytorch_lightning as pl
import torch

from hyperspec.models.encoder import Encoder
from hyperspec.tracking.contract import Artifact, Folder, Param
from hyperspec.tracking.lightning import RunLogger, SystemMetrics
from hyperspec.training.allocator import heap_for_steps
from hyperspec.training.callbacks.band_sampling import BandSampling
from hyperspec.training.callbacks.guards import CheckCachedGradient, NoticeCollapse
from hyperspec.training.callbacks.monitoring import (
    CostMeter,
    GradientNorm,
    ShowEpochs,
    StopOnNonFinite,
    Validate,
)
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.checkpoint_io import AtomicCheckpointIO
from hyperspec.training.context import RunContext
from hyperspec.training.controls import check_weights
from hyperspec.training.datamodule import LoaderSettings, SpecimenData
from hyperspec.training.ddp import OwnProcesses, strategy
from hyperspec.training.devices import lightning_devices
from hyperspec.training.growth import check_same_bands
from hyperspec.training.optimizer import Moments
from hyperspec.training.precision import precision_words
from hyperspec.training.progressive import (
    Stage,
    StagePlan,
    Start,
    enter,
    grown,
    score_stage,
    stages_table,
)
from hyperspec.training.scorer import Scorer
from hyperspec.training.simclr import SimCLR
from hyperspec.training.sync_batchnorm import synchronise
from hyperspec.utils.device_memory import free_memory
from hyperspec.utils.distributed import alone, world

log = logging.getLogger(__name__)


def quieten() -> None:
    """Keep Lightning's tips and device tables out of a sweep's log, where every job repeats them.

    The first two warnings are of Lightning's own use of torch, and nothing of ours can mend them.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    # DDP copies gradients of 1x1 kernels, whose layouts are alike: they are small.
    warnings.filterwarnings("ignore", r"Grad strides do not match bucket view strides")
    # On every machine with SLURM, also its login node; submitit starts jobs there, not the user.
    warnings.filterwarnings("ignore", r"The `srun` command is available on your system")


@dataclass(frozen=True)
class Fitted:
    """How a stretch ended: cost by metric, and epoch and score at which a sweep stopped it."""

    cost: Mapping[str, float]
    stopped: tuple[int, float] | None = None


@dataclass(frozen=True)
class Trained:
    """A run's last trained module, its encoder before training, its scorer, how it ended."""

    module: SimCLR
    untrained: Encoder
    scorer: Scorer
    fitted: Fitted


def train(context: RunContext, start: Start) -> Trained:
    """Train through all stages of a run, or from the one that a checkpoint was written in.

    Raises:
        ConfigError: If the schedule does not fit the bands, or the objective cannot be chosen on.
        ModelError: If a checkpoint does not fit.
    """
    config, plan = context.config, StagePlan.of(context, start)
    stage, untrained = enter(plan)
    scorer = Scorer(plan.at(stage.number).data, stage.module, config.evaluation)
    scorer.check_objective(config.objective)  # before any training
    check_weights(config.evaluation)
    while True:
        fitted, rows = fit(plan.at(stage.number), stage, watch(context, scorer)), stage.rows
        if plan.scheduled and fitted.stopped is None:
            rows = [*rows, score_stage(plan, stage, scorer, fitted.cost)]
        if stage.number == plan.last or fitted.stopped is not None:
            break
        stage = grown(plan, stage, rows)
        scorer = Scorer(plan.at(stage.number).data, stage.module, config.evaluation)
        free_memory()  # optimizer and graph of the stage before
    if plan.scheduled:
        context.run.log_text(stages_table(rows), Artifact.STAGES_TABLE)
    return Trained(stage.module, untrained, scorer, fitted)


def watch(context: RunContext, scorer: Scorer) -> list[pl.Callback]:
    """Return what watches the training of an encoder on its final bands."""
    config, session = context.config, context.session
    found: list[pl.Callback] = [GradientNorm(config.log_every_n_steps)]
    if config.model.sampling_minimum is not None:
        found.append(BandSampling(config.model.sampling_minimum, config.seed))
    every = config.evaluation.every_n_epochs
    found.append(Validate(scorer.validate, every, session.report, scorer.best))
    return [*found, *session.callbacks]


def fit(context: RunContext, stage: Stage, watchers: Sequence[pl.Callback] = ()) -> Fitted:
    """Train one stage, write the checkpoint, and return what it cost and what stopped it.

    Within a group of processes each calls it; rank 0 logs and writes.
    """
    config, run, module, (rank, processes) = context.config, context.run, stage.module, world()
    hardware, data = config.hardware, _batches(context, module)
    if hardware.plan and rank == 0 and context.forecast is not None:
        with alone():
            context.forecast(context, module)
    if processes > 1 and (count := synchronise(module.encoder)):
        log.info("%d BatchNorm layers use the statistics of all %d devices", count, processes)
    if hardware.compile:
        module.encoder.backbone.compile()
    run.log_params({Param.NUM_FEATURES: str(module.encoder.num_features)})
    cost, show = CostMeter(), ShowEpochs(run.name)
    callbacks = [cost, *_guards(context, stage), *watchers]
    if config.tracking.system_metrics and rank == 0:
        callbacks.append(SystemMetrics(run))
    if rank == 0:
        callbacks.append(show)
    precision, precision_plugins = precision_words(hardware.precision, module.device)
    trainer = pl.Trainer(
        **precision,
        **lightning_devices(context.device, processes),
        strategy=strategy(),
        max_epochs=stage.epochs,
        accumulate_grad_batches=hardware.accumulate,
        gradient_clip_val=config.clip_norm,
        log_every_n_steps=min(config.log_every_n_steps, len(data.batches)),
        logger=RunLogger(run) if rank == 0 else False,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO(), OwnProcesses(), *precision_plugins],
        default_root_dir=context.folder,
        enable_checkpointing=False,  # one checkpoint at the end, written below
        enable_progress_bar=False,  # ShowEpochs knows the time that is left
        enable_model_summary=False,
        use_distributed_sampler=False,  # EpochBatches shares out the batches itself
    )
    if stage.ckpt is not None:
        check_same_bands(read_checkpoint(stage.ckpt), module, stage.ckpt)
    with heap_for_steps(module.device, hardware.micro_batch), show:
        trainer.fit(module, datamodule=data, ckpt_path=stage.ckpt)
    module.to(module.bank.device)  # Lightning leaves it on the CPU
    trainer.save_checkpoint(context.folder / stage.name)
    for name in (stage.name, f"{stage.name}.sha256"):
        run.log_artifact(context.folder / name, Folder.CHECKPOINTS)
    stopped = (watcher.stopped for watcher in watchers if isinstance(watcher, Validate))
    return Fitted(cost.metrics, next(stopped, None))


def _batches(context: RunContext, module: SimCLR) -> SpecimenData:
    config, hardware = context.config, context.config.hardware
    return SpecimenData(
        module.bank,
        context.data.split,
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


def _guards(context: RunContext, stage: Stage) -> list[pl.Callback]:
    """Return what no training goes without."""
    config = context.config
    check_every = config.log_every_n_steps if stage.module.device.type == "cuda" else 1
    return [
        StopOnNonFinite(context.data.files, check_every),
        Moments(stage.moments),
        NoticeCollapse(config.log_every_n_steps, context.run.set_tags),
        *([CheckCachedGradient()] if config.hardware.check_micro_batch else []),
    ]


@contextlib.contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Use so many CPU threads inside; a process that runs several jobs gets its own back."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
