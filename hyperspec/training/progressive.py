"""Stages of one run on nested sets of bands (config key ``schedule``); without one, a single stage.

A stage ends with a checkpoint. The next one builds the module of its bands, gives it the weights
(:mod:`hyperspec.training.growth`), rewrites that checkpoint for it, and goes on from there as any
interrupted training does: epochs, optimizer state, schedule and random states continue. So a run
that is killed at any step ends with the weights of an unbroken one, whatever the stage.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.models.encoder import Encoder, carry_over
from hyperspec.spectra.selection import BandSelection
from hyperspec.tracking.contract import Artifact, MetricName
from hyperspec.training.builders import assemble, open_bank, read_bands
from hyperspec.training.checkpoint import read_checkpoint, write_checkpoint
from hyperspec.training.context import RunContext
from hyperspec.training.data import facts_of
from hyperspec.training.devices import random_states_kept
from hyperspec.training.growth import grow_from, grow_into, log_growth, same_bands
from hyperspec.training.optimizer import forgetting
from hyperspec.training.scorer import Scorer
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.distributed import world
from hyperspec.utils.errors import ConfigError, ModelError

log = logging.getLogger(__name__)
CHECKPOINT = "last.ckpt"
Row = dict[str, float]  # what a stage scored, by column
_FACT = "schedule"  # entry of a checkpoint's facts: which stage, and what those before it scored
_COLUMNS = ("stage", "bands", "until_epoch", "growth_cosine", "train_seconds")


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    Args:
        module: What is trained.
        epochs: Epochs in all, those before ``ckpt`` included.
        ckpt: Checkpoint to continue from.
        name: File that the checkpoint at its end is written to.
        moments: Optimizer state by parameter name to start with, when there is no ``ckpt``.
        number: Its place in the run, from 0.
        rows: What the stages before it scored.
    """

    module: SimCLR
    epochs: int
    ckpt: str | None = None
    name: str = CHECKPOINT
    moments: Mapping[str, Any] | None = None
    number: int = 0
    rows: Sequence[Row] = ()


@dataclass(frozen=True)
class Carried:
    """Encoder and heads of a search for bands, and whose channel is whose.

    The order ``(n,)`` names the selector of each chosen band in channel order.
    """

    encoder: Encoder
    head: nn.Module
    order: NDArray[np.intp]
    cell_head: nn.Module | None = None

    def into(self, module: SimCLR) -> None:
        """Give the module of the chosen bands these weights."""
        carry_over(self.encoder, module.encoder, self.order)
        module.head.load_state_dict(self.head.state_dict())
        if module.cell_head is not None and self.cell_head is not None:
            module.cell_head.load_state_dict(self.cell_head.state_dict())


@dataclass(frozen=True)
class Start:
    """What the training on the chosen bands starts from, and its epochs.

    The encoder of a checkpoint of other bands is grown to these; ``carried`` is of a search.
    """

    epochs: int
    ckpt: str | None = None
    carried: Carried | None = None


@dataclass(frozen=True)
class StagePlan:
    """What all stages of a run share; a run without a schedule has one.

    Args:
        context: Of the run, with the bands of the last stage.
        start: What it starts from.
        sets: Bands of each stage.
        bank: Planes of the last stage's bands, which hold all others; None without a schedule,
            where the one module opens its own.
    """

    context: RunContext
    start: Start
    sets: Sequence[BandSelection]
    bank: PlaneBank | None = None

    @classmethod
    def of(cls, context: RunContext, start: Start) -> StagePlan:
        """Divide a run into its stages, and log their bands.

        Raises:
            ConfigError: If the schedule does not fit the chosen bands.
        """
        config, data = context.config, context.data
        if not config.schedule:
            return cls(context, start, [data.selection])
        sets = nested_sets(data.selection, [spec.bands for spec in config.schedule])
        bank = open_bank(config, data, context.device)
        bands = {f"stage_{i + 1}": chosen.to_dict() for i, chosen in enumerate(sets)}
        context.run.log_dict(bands, Artifact.STAGES)
        return cls(context, start, sets, bank)

    @property
    def last(self) -> int:
        """Number of the last stage, from 0."""
        return len(self.sets) - 1

    @property
    def scheduled(self) -> bool:
        """Whether the run has a schedule, whose stages are scored one by one."""
        return bool(self.context.config.schedule)

    def at(self, number: int) -> RunContext:
        """Return the context of a stage: that of the run, with the stage's bands."""
        data = dataclasses.replace(self.context.data, selection=self.sets[number])
        return dataclasses.replace(self.context, data=data)

    def until(self, number: int) -> int:
        """Return the epoch at which a stage ends."""
        schedule = self.context.config.schedule
        return schedule[number].until_epoch if schedule else self.start.epochs

    def file(self, number: int) -> str:
        """Return the file that a stage's last checkpoint is written to."""
        return CHECKPOINT if number == self.last else f"stage_{number + 1}.ckpt"

    def module(self, number: int) -> SimCLR:
        """Build the module of a stage as it would start untrained.

        With a schedule it is the same whenever asked, and what the training draws does not depend
        on how many were built before.
        """
        there, config = self.at(number), self.context.config
        if self.bank is None:
            return assemble(config, there.data, there.device)
        bank = self.bank if number == self.last else self.bank.narrowed(self.sets[number].indices)
        with random_states_kept(there.device):
            torch.manual_seed(config.seed)
            module = assemble(config, there.data, there.device, bank)
        stretch = (self.until(number), config.epochs)
        module.optimisation = dataclasses.replace(module.optimisation, stretch=stretch)
        return module

    def stage(self, number: int, module: SimCLR, ckpt: str | None, rows: Sequence[Row]) -> Stage:
        """Return a stage; its module gets what the stage's checkpoints are to carry."""
        config = self.context.config
        module.facts = facts_of(config, self.at(number).data)
        if self.scheduled:
            counts = [spec.bands for spec in config.schedule]
            module.facts[_FACT] = {"stage": number, "counts": counts, "rows": list(rows)}
        name = self.file(number)
        return Stage(module, self.until(number), ckpt, name, number=number, rows=rows)


def enter(plan: StagePlan) -> tuple[Stage, Encoder]:
    """Return the first stage, or that in which a checkpoint was written, and the untrained encoder.

    The encoder is that of the last stage as it is before any training.

    Raises:
        ModelError: If the checkpoint does not fit the schedule, or is of another model.
    """
    resumed = plan.context.session.ckpt
    path = plan.start.ckpt if resumed is None else str(resumed)
    number, rows = _place(path, plan) if plan.scheduled else (0, [])
    whole = plan.module(plan.last)
    untrained = copy.deepcopy(whole.encoder)
    module = whole if number == plan.last else plan.module(number)
    if plan.start.carried is not None:
        plan.start.carried.into(module)
    stage = plan.stage(number, module, path, rows)
    if number == 0 and resumed is None:
        stage = _begin(stage, plan.at(0))
    return stage, untrained


def _begin(stage: Stage, context: RunContext) -> Stage:
    """Return what a training starts from when its checkpoint may be of other bands.

    With the same bands the checkpoint is continued. With others the module takes over what it can
    (see :mod:`hyperspec.training.growth`), and this run's epochs, rate and schedule begin anew.
    """
    if stage.ckpt is None:
        return stage
    checkpoint = read_checkpoint(stage.ckpt)
    if same_bands(checkpoint, stage.module, stage.ckpt):
        return stage
    moments = grow_from(stage.ckpt, checkpoint, context, stage.module)
    return dataclasses.replace(stage, ckpt=None, moments=moments)


def _place(path: str | None, plan: StagePlan) -> tuple[int, Sequence[Row]]:
    """Return the stage that a checkpoint was written in, and what those before it scored.

    Raises:
        ModelError: If it was written by another schedule or on other bands.
    """
    if path is None:
        return 0, []
    facts = read_checkpoint(path)["hyperspec"]
    if _FACT not in facts:
        return 0, []  # of a run without stages: the first stage begins with what it has learned
    place = facts[_FACT]
    counts = [len(chosen) for chosen in plan.sets]
    number = int(place["stage"])
    trained = read_bands({"hyperspec": facts}, path)
    if place["counts"] != counts or trained.indices != plan.sets[number].indices:
        raise ModelError(
            f"ckpt='{path}' was written in stage {number + 1} of a schedule over "
            f"{place['counts']} bands (bands={trained.strategy}), this run's goes over {counts} "
            f"(bands={plan.context.data.selection.strategy}). Use the same schedule and bands, or "
            "start anew with ckpt=null."
        )
    return number, [dict(row) for row in place["rows"]]


def grown(plan: StagePlan, done: Stage, rows: Sequence[Row]) -> Stage:
    """Build the next stage from a trained one, and the checkpoint that it goes on from."""
    number = done.number + 1
    old, new = plan.sets[done.number], plan.sets[number]
    module = plan.module(number)
    growth = grow_into(module, plan.at(number).data, done.module, old)
    rows = [*rows[:-1], {**rows[-1], "growth_cosine": growth.cosine}]
    path = plan.context.folder / f"stage_{number + 1}_start.ckpt"
    stage = plan.stage(number, module, str(path), rows)
    checkpoint = read_checkpoint(path.with_name(done.name))
    checkpoint |= {
        "state_dict": module.state_dict(),
        "optimizer_states": forgetting(checkpoint, growth.rebuilt),
        "hyperspec": module.facts,
    }
    rank, processes = world()
    if rank == 0:
        write_checkpoint(checkpoint, path)
    if processes > 1:
        dist.barrier()  # the others read it
    log.info(
        "from %d to %d bands: median cosine of a batch's embeddings before and after %.4f",
        len(old),
        len(new),
        growth.cosine,
    )
    step = int(checkpoint["global_step"])
    log_growth(plan.context.run, growth, len(old), len(new), step)
    return stage


def score_stage(plan: StagePlan, stage: Stage, scorer: Scorer, cost: Mapping[str, float]) -> Row:
    """Score the encoder of a stage on the validation part, in its own bands, and log it."""
    scores = scorer.validate() if world()[0] == 0 else {}
    metrics = {key.removeprefix("val/"): value for key, value in scores.items()}
    row = {
        "stage": stage.number + 1,
        "bands": len(plan.sets[stage.number]),
        "until_epoch": stage.epochs,
        "train_seconds": cost.get(MetricName.TRAIN_SECONDS, float("nan")),
        **metrics,
    }
    step = int(stage.module.global_step)
    plan.context.run.log_metrics(
        {MetricName.STAGE.of(key): float(value) for key, value in row.items()}, step
    )
    return row


def stages_table(rows: Sequence[Row]) -> str:
    """Return the stages as CSV; what a stage lacks is left empty."""
    names = list(dict.fromkeys([*_COLUMNS, *(key for row in rows for key in row)]))
    lines = [",".join(f"{row[key]:.6g}" if key in row else "" for key in names) for row in rows]
    return "\n".join([",".join(names), *lines, ""])


def nested_sets(largest: BandSelection, counts: Sequence[int]) -> list[BandSelection]:
    """Return the bands of each stage: every set holds the one before it.

    The last stage has the largest set; going back, each set is thinned to the next smaller count by
    keeping bands at even ranks in nm, both ends included (the middle one for a single band).

    Args:
        largest: The bands of the last stage.
        counts: Ascending numbers of bands, the last one that of ``largest``.

    Raises:
        ConfigError: If the last count is not that of ``largest``.
    """
    if counts[-1] != len(largest):
        raise ConfigError(
            f"schedule[{len(counts) - 1}].bands is {counts[-1]}, but bands={largest.strategy} "
            f"chose {len(largest)}: the last stage trains on all chosen bands. Set it to "
            f"{len(largest)}, or choose {counts[-1]} bands (bands=uniform bands.n={counts[-1]})."
        )
    sets = [largest]
    for count in reversed(counts[:-1]):
        sets.insert(0, thinned(sets[0], count))
    return sets


def thinned(selection: BandSelection, count: int) -> BandSelection:
    """Return a selection's bands at even ranks in nm, in the selection's channel order."""
    order = np.argsort(selection.wavelengths_nm, kind="stable")
    last = len(selection) - 1
    ranks = np.round(np.linspace(0, last, count)) if count > 1 else np.array([last // 2])
    kept = np.sort(order[ranks.astype(np.intp)])
    return BandSelection(
        tuple(selection.indices[place] for place in kept),
        selection.axis,
        selection.strategy,
        {**selection.params, "thinned_to": count},
    )
