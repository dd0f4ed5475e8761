"""One job inside of its run: taken over when it was finished before, continued, or trained."""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytorch_lightning as pl

from hyperspec.bands import Learned
from hyperspec.config import plugins
from hyperspec.config.schema import Train
from hyperspec.inference.attention import log_attention
from hyperspec.inference.band_curve import log_curve, plan_curve
from hyperspec.inference.importance import log_importance
from hyperspec.inference.restore import Restored
from hyperspec.runs.distributed.processes import together
from hyperspec.runs.identity import Objective, find_finished, identity, parts_of, why_trained_again
from hyperspec.runs.job_context import JobContext
from hyperspec.runs.job_state import STOPPED, TAKEN, mark
from hyperspec.runs.locks import claim
from hyperspec.runs.out_of_memory import OutOfMemoryError, is_out_of_memory
from hyperspec.runs.planning.logged import foretell
from hyperspec.runs.provenance import describe
from hyperspec.runs.resume import adopt, continue_history
from hyperspec.search.trial import TrialReporter
from hyperspec.spectra.selection import BandSelection
from hyperspec.tracking.contract import MetricName, Tag
from hyperspec.tracking.run import JobRun
from hyperspec.training.band_search import Found, choose_bands
from hyperspec.training.builders import read_config
from hyperspec.training.callbacks.checkpointing import KeepCheckpoints, Slots, origin
from hyperspec.training.callbacks.graceful_stop import StopSoftly
from hyperspec.training.callbacks.monitoring import best_scores
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.context import RunContext, Session
from hyperspec.training.data import Material, gather
from hyperspec.training.devices import choose_device
from hyperspec.training.trainer import Trained, cpu_threads, quieten, train
from hyperspec.utils.device_memory import free_memory
from hyperspec.utils.distributed import world
from hyperspec.utils.errors import ConfigError, HyperspecError
from hyperspec.utils.progress import progress

log = logging.getLogger(__name__)

_is_clean = True  # whether the memory of the job before was given back


class ObjectiveError(HyperspecError):
    """The job gave no finite objective."""


@dataclass(frozen=True)
class Outcome:
    """What an experiment ended with; NaN in processes that train along with rank 0.

    The objective is what ``config.objective`` names: a value, or several in its order; the last
    score when the sweep stopped the training, at the epoch and score of ``stopped``.
    """

    objective: Objective
    stopped: tuple[int, float] | None = None


def prepare(config: Train) -> Material:
    """Gather what a config's run works on."""
    quieten()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with cpu_threads(config.hardware.threads), progress("Reading the specimens"):
        return gather(config.data, config.bands)


def execute(context: RunContext) -> Outcome:
    """Choose bands, train, score, and log: one experiment on what :func:`prepare` gathered."""
    config, leads = context.config, world()[0] == 0
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with cpu_threads(config.hardware.threads):
        found = choose_bands(context)
        chosen = replace(context, data=found.data)
        if leads:
            describe(chosen.data, config, chosen.run)
        curve = plan_curve(config, chosen.data)  # none of its points may fail after the training
        trained = train(chosen, found.start)
        if not leads:
            return Outcome(math.nan)
        if (stopped := trained.fitted.stopped) is not None:
            return Outcome(stopped[1], stopped)
        metrics = _score(chosen, found, trained)
        objectives = trained.scorer.objectives(metrics, config.objective)
        _measure(chosen, trained, curve)
        return Outcome(_log(chosen, trained, metrics, objectives))


def _score(context: RunContext, found: Found, trained: Trained) -> dict[str, float]:
    """Score the encoder and the controls; return all metrics of the run."""
    cost, scorer = trained.fitted.cost, trained.scorer
    with progress("Scoring the encoder and its controls"):
        scores = scorer.final(context.run, trained.untrained)
    metrics = {**scores, **cost, **found.cost(cost)}
    if context.config.evaluation.every_n_epochs:
        metrics |= best_scores(scorer.best, metrics)
    return metrics


def _measure(
    context: RunContext, trained: Trained, curve: dict[tuple[str, int], BandSelection]
) -> None:
    """Keep with the run what is measured of a trained encoder besides its scores."""
    config, data, run = context.config, context.data, context.run
    embedder = trained.module.embedder
    if curve:
        log_curve(curve, config, data, embedder, run)
    log_attention(data, embedder, run)
    if config.evaluation.importance is True:
        log_importance(Restored(config, data, embedder, data.selection, True), run)


def _log(
    context: RunContext, trained: Trained, metrics: dict[str, float], objectives: dict[str, float]
) -> Objective:
    """Log all metrics, and return the objective as the sweep takes it."""
    values = tuple(objectives.values())
    if len(values) > 1:  # the run alone says what it reached
        metrics = {**metrics, **objectives}
        context.run.set_tags({Tag.OBJECTIVES: ",".join(objectives)})
    last = {**metrics, MetricName.OBJECTIVE: values[0]}
    context.run.log_metrics(last, trained.module.global_step)
    return values[0] if len(values) == 1 else values


def run_experiment(config: Train, run: JobRun, job: JobContext) -> Objective:
    """Do one job and return what it optimises.

    A job of a sweep whose identity has a finished run takes that run's result; one that was
    interrupted goes on from its last checkpoint. While it runs no other sweep runs the same job.
    """
    global _is_clean
    if not _is_clean:  # after a job that failed, whose error kept its tensors while it was raised
        free_memory()
    _is_clean = False
    data = prepare(config)
    _check_start(config, data)
    hashes = (data.source.hash, data.split.hash)
    same = identity(config, *hashes, parts_of(config), plugins=plugins.sources(config))
    run.set_tags(same.tags)
    with ExitStack() as stack:
        slots = Slots(job.output_dir / "interrupted")
        if job.parent is not None and config.sweep.resume:
            stack.enter_context(claim(run.connection, same.hash, run.stored_id))
            found = find_finished(run.connection, same.hash)
            if found is not None:
                mark(job.output_dir, TAKEN)
                return adopt(run, found)
            if (reason := why_trained_again(run.connection, same)) is not None:
                log.info("%s: %s, so that it is trained once more", run.name, reason)
            slots = Slots(Path(config.data.cache_dir) / "interrupted" / same.hash)
        objective = _train(config, data, run, job, slots)
        # The result is written before the claim falls, so that the next one finds it.
        if run.status == "RUNNING":
            _check_finite(objective)
            run.finish()
        slots.clear()
    free_memory()
    _is_clean = True
    return objective


def _check_start(config: Train, data: Material) -> None:
    """Refuse what cannot be trained on these parts.

    A rotation that goes on from weights which its own test part may have trained, and a loss of
    labels without any.
    """
    if config.loss.supervised and all(data.labels[row] is None for row in data.split.train):
        raise ConfigError(
            f"loss={config.loss.name} takes the labels of the training part, and none of its "
            f"{len(data.split.train)} images has one. Give labels (data.labels), or take "
            "loss=nt_xent, which is the same without them."
        )
    if config.ckpt is None or config.data.split.rotate is None:
        return
    checkpoint = read_checkpoint(config.ckpt)
    facts, before = checkpoint["hyperspec"], read_config(checkpoint, config.ckpt).data
    same_data = facts["data_hash"] == data.source.hash
    same_folder = Path(before.root).resolve() == Path(config.data.root).resolve()
    if facts["split_hash"] != data.split.hash and (same_data or same_folder):
        raise ConfigError(
            f"ckpt='{config.ckpt}' was trained on another part of {config.data.root} than "
            f"data.split.rotation={config.data.split.rotation} trains on: specimens that are "
            "tested here would have been seen. Give a checkpoint of the same rotation, or "
            "ckpt=null."
        )


def _check_finite(objective: Objective) -> None:
    """Refuse a result that is no number: a search or a report would stumble over it later."""
    values = objective if isinstance(objective, tuple) else (objective,)
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise ObjectiveError(
            f"The job ended with {objective!r} as its objective, not with a finite number."
        )


def _train(config: Train, data: Material, run: JobRun, job: JobContext, slots: Slots) -> Objective:
    """Train; once more with half the micro-batch when the memory did not suffice."""
    try:
        return _attempt(config, data, run, job, slots)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    # Outside of the handler: its traceback would keep the tensors of the first attempt.
    at_once = min(config.batch_size, len(data.split.train))
    smaller = max(1, (config.hardware.micro_batch or at_once) // 2)
    log.warning("%s: out of memory; once more with hardware.micro_batch=%d", run.name, smaller)
    free_memory()
    run.set_tags({Tag.MICRO_BATCH: str(smaller)})
    try:
        hardware = replace(config.hardware, micro_batch=smaller)
        return _attempt(replace(config, hardware=hardware), data, run, job, slots)
    except Exception as error:
        if isinstance(error, ConfigError):  # this model cannot be trained in micro-batches
            advice = str(error)
        elif is_out_of_memory(error):
            advice = "Give a smaller hardware.micro_batch, or take hardware=low_memory."
        else:
            raise
    free_memory()
    raise OutOfMemoryError(
        f"The job ran out of memory ({reason}), and hardware.micro_batch={smaller} did not help. "
        f"{advice}"
    )


def _attempt(
    config: Train, data: Material, run: JobRun, job: JobContext, slots: Slots
) -> Objective:
    session, device = open_session(config, run, job, slots), choose_device(config.hardware)
    context = RunContext(config, data, device, run, job.output_dir, session, foretell)
    with together(context, slots.folder) as shared:
        outcome = execute(shared)
    if outcome.stopped is not None:
        epoch, score = outcome.stopped
        mark(job.output_dir, STOPPED)
        run.set_tags({Tag.PRUNED: str(epoch)})
        run.finish("KILLED", f"stopped early by the search after epoch {epoch} at {score:.4g}")
    return outcome.objective


def open_session(config: Train, run: JobRun, job: JobContext, slots: Slots) -> Session:
    """Return what the sweep asks of the job's training; a job of its own keeps checkpoints too."""
    soft, seconds = StopSoftly(), config.sweep.checkpoint_seconds
    keep = KeepCheckpoints(slots, seconds, run.run_id, run.secure, soft)
    latest, search = slots.latest(), None
    if isinstance(config.bands, Learned):
        earlier = Slots(slots.folder / "search")
        keep_search = KeepCheckpoints(earlier, seconds, run.run_id, run.secure, soft)
        search = Session(earlier.latest(), [soft, keep_search], keep=earlier.keep)
    if latest is not None:
        _go_on(run, latest, "the training", whole=(MetricName.SEARCH,) if search else ())
    elif search is not None and search.ckpt is not None:
        _go_on(run, search.ckpt, "the search for bands")
    trial = None if job.sweep_dir is None else TrialReporter.current(job.sweep_dir)
    return Session(latest, [soft, keep], None if trial is None else trial.report, search)


def _go_on(run: JobRun, ckpt: Path, what: str, whole: tuple[str, ...] = ()) -> None:
    before, step = origin(ckpt)
    log.info("%s: goes on with %s from step %d of run %s", run.name, what, step, before)
    if before != run.run_id:
        continue_history(run, before, step, whole)
