"""Progressive training: stages of one run on nested sets of bands (config key ``schedule``).

A stage ends with a checkpoint. The next one builds the module of its bands, gives it the weights
(:mod:`hyperspec.training.growth`), rewrites that checkpoint for it, and goes on from there as any
interrupted training does: epochs, optimizer state, schedule and random states continue. So a run
that is killed at any step ends with the weights of an unbroken one, whatever the stage.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from hyperspec.config.schema import Train
from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.models.encoder import Encoder
from hyperspec.spectra.projection import selection_from_dict
from hyperspec.spectra.selection import BandSelection
from hyperspec.tracking.contract import Artifact, MetricName
from hyperspec.tracking.run import JobRun
from hyperspec.training.builders import assemble, open_bank
from hyperspec.training.callbacks.optimizer_state import forgetting
from hyperspec.training.checkpoint import AtomicCheckpointIO, read_checkpoint
from hyperspec.training.data import Material, facts_of
from hyperspec.training.growth import Growth, grow_into, log_growth
from hyperspec.training.schedule import nested_sets
from hyperspec.training.scorer import Scorer
from hyperspec.training.session import Session
from hyperspec.training.simclr import SimCLR
from hyperspec.training.trainer import CHECKPOINT, Stage, begin, fit, watch
from hyperspec.utils.distributed import world
from hyperspec.utils.errors import ModelError

log = logging.getLogger(__name__)
_FACT = "schedule"  # entry of a checkpoint's facts: which stage, and what those before it scored
_COLUMNS = ("stage", "bands", "until_epoch", "growth_cosine", "train_seconds")


@dataclass(frozen=True)
class Plan:
    """What all stages of a run share.

    Args:
        config: The checked config.
        material: What the run works on, with the bands of the last stage.
        sets: Bands of each stage.
        bank: Planes of the last stage's bands, which hold all others.
        device: The training device.
    """

    config: Train
    material: Material
    sets: list[BandSelection]
    bank: PlaneBank
    device: torch.device

    def of(self, number: int) -> Material:
        """Return the material of a stage."""
        return dataclasses.replace(self.material, selection=self.sets[number])

    def until(self, number: int) -> int:
        """Return the epoch at which a stage ends."""
        return self.config.schedule[number].until_epoch

    def module(self, number: int) -> SimCLR:
        """Build the module of a stage as it would start untrained, the same whenever asked."""
        config, last = self.config, self.sets[-1]
        material = self.of(number)
        bank = (
            self.bank
            if number == len(self.sets) - 1
            else self.bank.narrowed(material.selection.indices)
        )
        assert last.indices == self.bank.bands, "the bank holds the last stage's planes"
        # What the training draws must not depend on how many modules were built before it.
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            module = assemble(config, material, self.device, bank)
        stretch = (self.until(number), config.epochs)
        module.optimisation = dataclasses.replace(module.optimisation, stretch=stretch)
        return module

    def facts(self, number: int, rows: list[dict[str, float]]) -> dict[str, Any]:
        """Return what the checkpoints of a stage carry."""
        counts = [spec.bands for spec in self.config.schedule]
        place = {"stage": number, "counts": counts, "rows": rows}
        return {**facts_of(self.config, self.of(number)), _FACT: place}


def train_stages(
    config: Train,
    material: Material,
    device: torch.device,
    run: JobRun,
    output_dir: Path,
    session: Session,
) -> tuple[SimCLR, Encoder, Scorer, dict[str, float]]:
    """Train through all stages, or from the one that a checkpoint was written in.

    Returns:
        The trained module on all bands, its encoder as it was before any training, what scores it,
        and what the training cost.

    Raises:
        ConfigError: If the schedule does not fit the chosen bands.
        ModelError: If the checkpoint does not fit the schedule.
    """
    sets = nested_sets(material.selection, [spec.bands for spec in config.schedule])
    plan = Plan(config, material, sets, open_bank(config, material, device), device)
    run.log_dict(
        {f"stage_{i + 1}": chosen.to_dict() for i, chosen in enumerate(sets)}, Artifact.STAGES
    )
    # Before any training: a wrong objective ends the run here.
    Scorer(material, plan.module(0), config.evaluation).check_objective(config.objective)
    path = config.ckpt if session.ckpt is None else str(session.ckpt)
    number, rows = _place(path, plan)
    module = plan.module(number)
    module.facts = plan.facts(number, rows)
    stage = Stage(plan.until(number), path, _name(number, plan))
    if number == 0 and session.ckpt is None:
        stage = begin(stage, config, plan.of(0), module, run)
    while True:
        scorer = Scorer(plan.of(number), module, config.evaluation)
        watchers = watch(config, scorer, session)
        cost = fit(config, plan.of(number), module, run, output_dir, stage, watchers)
        last = number == len(sets) - 1
        if last or session.stopped is not None:
            break
        rows = [*rows, _score(plan, number, scorer, cost, module, run)]
        module, stage = _grown(plan, number, module, output_dir / stage.name, rows, run)
        number += 1
    if session.stopped is None:
        rows = [*rows, _score(plan, number, scorer, cost, module, run)]
    run.log_text(_table(rows), Artifact.STAGES_TABLE)
    untrained = copy.deepcopy(plan.module(len(sets) - 1).encoder)
    return module, untrained, scorer, cost


def _name(number: int, plan: Plan) -> str:
    """Return the file that a stage's last checkpoint is written to."""
    return CHECKPOINT if number == len(plan.sets) - 1 else f"stage_{number + 1}.ckpt"


def _place(path: str | None, plan: Plan) -> tuple[int, list[dict[str, float]]]:
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
    trained = selection_from_dict(facts["bands"])
    if place["counts"] != counts or trained.indices != plan.sets[number].indices:
        raise ModelError(
            f"ckpt='{path}' was written in stage {number + 1} of a schedule over "
            f"{place['counts']} bands (bands={trained.strategy}), this run's goes over {counts} "
            f"(bands={plan.material.selection.strategy}). Use the same schedule and bands, or "
            "start anew with ckpt=null."
        )
    return number, [dict(row) for row in place["rows"]]


def _grown(
    plan: Plan,
    number: int,
    trained: SimCLR,
    path: Path,
    rows: list[dict[str, float]],
    run: JobRun,
) -> tuple[SimCLR, Stage]:
    """Build the next stage's module from a trained one, and the checkpoint that it goes on from."""
    old, new = plan.sets[number], plan.sets[number + 1]
    module = plan.module(number + 1)
    growth = grow_into(module, plan.of(number + 1), trained, old)
    rows[-1]["growth_cosine"] = growth.cosine
    module.facts = plan.facts(number + 1, rows)
    checkpoint = read_checkpoint(path)
    checkpoint |= {
        "state_dict": module.state_dict(),
        "optimizer_states": forgetting(checkpoint, growth.rebuilt),
        "hyperspec": module.facts,
    }
    grown = path.with_name(f"stage_{number + 2}_start.ckpt")
    rank, processes = world()
    if rank == 0:
        AtomicCheckpointIO().save_checkpoint(checkpoint, grown)
    if processes > 1:
        dist.barrier()  # the others read it
    _announce(growth, old, new, int(checkpoint["global_step"]), run)
    return module, Stage(plan.until(number + 1), str(grown), _name(number + 1, plan))


def _announce(
    growth: Growth, old: BandSelection, new: BandSelection, step: int, run: JobRun
) -> None:
    log.info(
        "from %d to %d bands: median cosine of a batch's embeddings before and after %.4f",
        len(old),
        len(new),
        growth.cosine,
    )
    log_growth(run, growth, len(old), len(new), step)


def _score(
    plan: Plan,
    number: int,
    scorer: Scorer,
    cost: dict[str, float],
    module: SimCLR,
    run: JobRun,
) -> dict[str, float]:
    """Score the encoder of a stage on the validation part, in its own bands, and log it."""
    scores = scorer.validate() if world()[0] == 0 else {}
    metrics = {key.removeprefix("val/"): value for key, value in scores.items()}
    row = {
        "stage": number + 1,
        "bands": len(plan.sets[number]),
        "until_epoch": plan.until(number),
        "train_seconds": cost.get(MetricName.TRAIN_SECONDS, float("nan")),
        **metrics,
    }
    step = int(module.global_step)
    run.log_metrics({MetricName.STAGE.of(key): float(value) for key, value in row.items()}, step)
    return row


def _table(rows: list[dict[str, float]]) -> str:
    """Return the stages as CSV; what a stage lacks is left empty."""
    names = list(dict.fromkeys([*_COLUMNS, *(key for row in rows for key in row)]))
    lines = [",".join(f"{row[key]:.6g}" if key in row else "" for key in names) for row in rows]
    return "\n".join([",".join(names), *lines, ""])
