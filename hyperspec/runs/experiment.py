"""From a checked config to one score: read, choose bands, train, evaluate, log."""

from __future__ import annotations

import copy
import gc
import logging
import math
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl

from hyperspec.bands import Learned
from hyperspec.config.schema import Train
from hyperspec.inference.attention import log_attention
from hyperspec.inference.band_curve import log_curve, plan_curve
from hyperspec.inference.importance import log_importance
from hyperspec.inference.restore import Restored
from hyperspec.runs.identity import Objective
from hyperspec.runs.provenance import describe
from hyperspec.tracking import names
from hyperspec.tracking.run import JobRun
from hyperspec.training.builders import assemble
from hyperspec.training.callbacks.monitoring import (
    best_scores,
)
from hyperspec.training.data import Material, gather
from hyperspec.training.devices import choose_device
from hyperspec.training.scorer import Scorer
from hyperspec.training.session import Session
from hyperspec.training.trainer import Stage, _threads, begin, fit, quieten, watch
from hyperspec.utils.distributed import world

log = logging.getLogger(__name__)


def prepare(config: Train) -> Material:
    """Gather what a config's run works on."""
    quieten()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with _threads(config.hardware.threads):
        return gather(config.data, config.bands)


def execute(
    config: Train,
    material: Material,
    run: JobRun,
    output_dir: Path,
    session: Session | None = None,
) -> Objective:
    """Run one experiment and log it.

    Args:
        config: The checked config.
        material: What :func:`prepare` gathered for it.
        run: The tracked run that everything is logged to.
        output_dir: Folder of the job, where its checkpoint is written.
        session: What the sweep asks of the job, when it is one of a sweep.

    Returns:
        What ``config.objective`` names: a value, or several in its order; the last score when the
        session stopped the training early. NaN from processes that train along with rank 0.
    """
    session = session or Session()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with _threads(config.hardware.threads):
        device, found = choose_device(config.hardware), None
        if isinstance(config.bands, Learned):
            # It trains too, with the functions of this module.
            from hyperspec.training.band_search_stage import learn

            found = learn(config, config.bands, material, device, run, output_dir, session)
            material = found.material
            gc.collect()  # the planes of all bands: Lightning's trainer and module hold each other
            # From here on the run is that of any other choice of bands.
            pl.seed_everything(config.seed, workers=True, verbose=False)
        if world()[0] == 0:
            describe(material, config, run)
        curve = plan_curve(config, material)
        if config.schedule:
            # Its stages train with the functions of this module.
            from hyperspec.training.progressive import train_stages

            module, untrained, scorer, cost = train_stages(
                config, material, device, run, output_dir, session
            )
        else:
            module = assemble(config, material, device)
            untrained = copy.deepcopy(module.encoder)
            stage = Stage(config.epochs, config.ckpt) if found is None else found.begin(module)
            if session.ckpt is not None:
                stage = replace(stage, ckpt=str(session.ckpt))
            elif found is None:
                stage = begin(stage, config, material, module, run)
            scorer = Scorer(material, module, config.evaluation)
            scorer.check_objective(config.objective)
            watchers = watch(config, scorer, session)
            cost = fit(config, material, module, run, output_dir, stage, watchers)
        if world()[0]:
            return math.nan  # rank 0 scores
        if session.stopped is not None:
            return session.stopped[1]
        metrics = {**scorer.final(run, untrained), **cost, **(found.cost(cost) if found else {})}
        if config.evaluation.every_n_epochs:
            metrics |= best_scores(scorer.best, metrics)
        objectives = scorer.objectives(metrics, config.objective)
        if curve:
            log_curve(curve, config, material, module.embedder, run)
        log_attention(material, module.embedder, run)
        if config.evaluation.importance:
            embedder = module.embedder
            log_importance(Restored(config, material, embedder, material.selection, True), run)
        values = tuple(objectives.values())
        if len(values) > 1:  # the run alone says what it reached
            metrics |= objectives
            run.set_tags({names.TAG_OBJECTIVES: ",".join(objectives)})
        run.log_metrics({**metrics, names.OBJECTIVE: values[0]}, module.global_step)
    return values[0] if len(values) == 1 else values
