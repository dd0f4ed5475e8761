"""One job inside of its run: taken over when it was finished before, continued, or trained."""

from __future__ import annotations

import gc
import logging
import math
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from hyperspec.bands import Learned
from hyperspec.config import plugins
from hyperspec.config.schema import Train
from hyperspec.runs.context import JobContext
from hyperspec.runs.distributed.launcher import Job, together
from hyperspec.runs.experiment import execute, prepare
from hyperspec.runs.identity import Objective, find_finished, identity, why_trained_again
from hyperspec.runs.job_state import STOPPED, TAKEN, mark
from hyperspec.runs.locks import claim
from hyperspec.runs.resume import adopt, continue_history
from hyperspec.runs.used_parts import parts_of
from hyperspec.search.trial import TrialReporter
from hyperspec.tracking import names
from hyperspec.tracking.run import JobRun
from hyperspec.training.callbacks.checkpointing import KeepCheckpoints, Slots, origin
from hyperspec.training.callbacks.graceful_stop import StopSoftly
from hyperspec.training.data import Material
from hyperspec.training.session import Session
from hyperspec.utils.errors import ConfigError, HyperspecError

log = logging.getLogger(__name__)


class OutOfMemoryError(HyperspecError):
    """The job needs more memory than there is."""


class ObjectiveError(HyperspecError):
    """The job gave no finite objective."""


def work(config: Train, run: JobRun, context: JobContext) -> Objective:
    """Do one job and return what it optimises.

    A job of a sweep whose identity has a finished run takes that run's result; one that was
    interrupted goes on from its last checkpoint. While it runs no other sweep runs the same job.

    Args:
        config: The checked config.
        run: The job's tracked run.
        context: What Hydra knows of the job.
    """
    _set_libraries_aside()
    _free()  # after a job that failed
    material = prepare(config)
    hashes = (material.source.hash, material.split.hash)
    same = identity(config, *hashes, parts_of(config), plugins=plugins.sources(config))
    run.set_tags(same.tags)
    with ExitStack() as stack:
        slots = Slots(context.output_dir / "interrupted")
        if context.parent is not None and config.sweep.resume:
            stack.enter_context(claim(run.connection, same.hash, run.stored_id))
            found = find_finished(run.connection, same.hash)
            if found is not None:
                mark(context.output_dir, TAKEN)
                return adopt(run, found)
            if (reason := why_trained_again(run.connection, same)) is not None:
                log.info("%s: %s, so that it is trained once more", run.name, reason)
            slots = Slots(Path(config.data.cache_dir) / "interrupted" / same.hash)
        objective = _train(config, material, run, context, slots)
        # The result is written before the claim falls, so that the next one finds it.
        if run.status == "RUNNING":
            _check_finite(objective)
            run.finish()
        slots.clear()
    _free()
    return objective


def _check_finite(objective: Objective) -> None:
    """Refuse a result that is no number: a search or a report would stumble over it later.

    Raises:
        ObjectiveError: If it is not finite, or missing.
    """
    values = objective if isinstance(objective, tuple) else (objective,)
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise ObjectiveError(
            f"The job ended with {objective!r} as its objective, not with a finite number."
        )


def _train(
    config: Train, material: Material, run: JobRun, context: JobContext, slots: Slots
) -> Objective:
    """Train; once more with half the micro-batch when the memory did not suffice."""
    try:
        return _attempt(config, material, run, context, slots)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    # Outside of the handler: its traceback would keep the tensors of the first attempt.
    at_once = min(config.batch_size, len(material.split.train))
    smaller = max(1, (config.hardware.micro_batch or at_once) // 2)
    log.warning("%s: out of memory; once more with hardware.micro_batch=%d", run.name, smaller)
    _free()
    run.set_tags({names.TAG_MEMORY: str(smaller)})
    try:
        hardware = replace(config.hardware, micro_batch=smaller)
        return _attempt(replace(config, hardware=hardware), material, run, context, slots)
    except Exception as error:
        if isinstance(error, ConfigError):  # this model cannot be trained in micro-batches
            advice = str(error)
        elif is_out_of_memory(error):
            advice = "Give a smaller hardware.micro_batch, or take hardware=low_memory."
        else:
            raise
    _free()
    raise OutOfMemoryError(
        f"The job ran out of memory ({reason}), and hardware.micro_batch={smaller} did not help. "
        f"{advice}"
    )


def _attempt(
    config: Train, material: Material, run: JobRun, context: JobContext, slots: Slots
) -> Objective:
    session = open_session(config, run, context, slots)
    job = Job(slots.folder, context.output_dir, run.name, run.run_id)
    with together(config, material, session, job) as shared:
        objective = execute(shared, material, run, context.output_dir, session)
    if session.stopped is not None:
        epoch, score = session.stopped
        mark(context.output_dir, STOPPED)
        run.set_tags({names.TAG_PRUNED: str(epoch)})
        run.finish("KILLED", f"stopped early by the search after epoch {epoch} at {score:.4g}")
    return objective


def open_session(config: Train, run: JobRun, context: JobContext, slots: Slots) -> Session:
    """Return what the sweep asks of the job's training; a job of its own keeps checkpoints too."""
    soft = StopSoftly()
    keep = KeepCheckpoints(slots, config.sweep.checkpoint_seconds, run.run_id, run.secure, soft)
    latest, search = slots.latest(), None
    if isinstance(config.bands, Learned):
        earlier = Slots(slots.folder / "search")
        keep_search = KeepCheckpoints(
            earlier, config.sweep.checkpoint_seconds, run.run_id, run.secure, soft
        )
        search = Session(earlier.latest(), [soft, keep_search], keep=earlier.keep)
    if latest is not None:
        _go_on(run, latest, "the training", whole=("search/",) if search else ())
    elif search is not None and search.ckpt is not None:
        _go_on(run, search.ckpt, "the search for bands")
    trial = None if context.sweep_dir is None else TrialReporter.current(context.sweep_dir)
    return Session(latest, [soft, keep], None if trial is None else trial.report, search)


def _go_on(run: JobRun, ckpt: Path, what: str, whole: tuple[str, ...] = ()) -> None:
    before, step = origin(ckpt)
    log.info("%s: goes on with %s from step %d of run %s", run.name, what, step, before)
    if before != run.run_id:
        continue_history(run, before, step, whole)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the memory of the device or of the host did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


@cache
def _set_libraries_aside() -> None:
    """Spare the half a million objects of the imported libraries each search for cycles.

    They stay for good anyhow; without them a search takes milliseconds instead of half a second.
    """
    gc.collect()
    gc.freeze()


def _free() -> None:
    """Give back the planes of a job that is over.

    Lightning's trainer and module hold each other, so that they would stay until Python happens to
    search for cycles: two data sets in memory at once.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
