"""The end of a sweep: runs are closed, jobs are counted, encoders become models."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.sweeps.description import best_job
from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import Artifact, Param, Tag
from hyperspec.tracking.record import read_run

if TYPE_CHECKING:
    import pandas as pd

    from hyperspec.report.load import SweepData
    from hyperspec.tracking.run import JobRun, Status


log = logging.getLogger(__name__)

LOADER = "hyperspec.inference.cube_embedder:open_embedder"
_SHOWN = ("bands", Param.NUM_BANDS, "model", "loss.temperature", "lr", "seed", "data.size")


@dataclass(frozen=True)
class Ending:
    """How a sweep ended."""

    failed: int
    """Jobs that did not end well."""
    data: SweepData | None
    """The sweep as the store has it, or None when the store does not have all of it."""
    text: str = ""
    """What to say then."""


def close_sweep(run: JobRun, error: BaseException | None) -> Ending:
    """Send what waits, close the parent and the jobs that the controller itself left open.

    When the store is away, the jobs are counted from their journals, and stay there. ``error`` is
    what ended the sweep, if anything did.
    """
    from hyperspec.tracking.cleanup import send_outbox
    from hyperspec.tracking.run import describe, interrupted
    from hyperspec.tracking.store_state import UnreachableError

    stopped = error is not None and interrupted(error)
    outbox = run.connection.outbox
    run.flush()
    away = next(iter(send_outbox(outbox, only=run.connection.uri).waiting.values()), None)
    try:
        if away is not None:
            raise UnreachableError(away)
        data = _stored(run, "KILLED" if stopped else "FAILED")
        failed, total = len(data.failed), len(data.jobs)
    except UnreachableError as trouble:
        away = str(trouble)
        failed, total = _count_waiting(run)
    reason = describe(error) if error is not None else None
    if failed and not stopped:
        reason = f"{failed} of {total} jobs failed"
    run.finish("KILLED" if stopped else "FAILED" if reason else "FINISHED", reason)
    try:
        if away is not None:
            raise UnreachableError(away)
        return Ending(failed, _stored(run, None))
    except UnreachableError as trouble:
        text = (
            f"{run.connection.shown_uri} does not have all of this sweep yet ({trouble}) Nothing "
            f"is lost: the rest is in {outbox}. When the store is back:\n  hyperspec sync {outbox}"
        )
        return Ending(failed, None, text)


def _stored(run: JobRun, close: Status | None) -> SweepData:
    """Return the sweep from the store, which must know it, after closing its open jobs."""
    from hyperspec.report.load import load_sweep
    from hyperspec.tracking.cleanup import close_children
    from hyperspec.tracking.store_state import UnreachableError

    parent = run.stored_id
    if parent is None:
        raise UnreachableError(f"{run.connection.shown_uri} does not know the sweep yet.")
    if close is not None:
        close_children(run.connection, parent, close)
    return run.connection.ask(lambda _: load_sweep(run.connection.uri, [parent]))


def _count_waiting(run: JobRun) -> tuple[int, int]:
    """Return how many jobs failed, and how many there are, of those that wait."""
    from hyperspec.tracking.offline.journal import waiting_runs

    own = {run.run_id, run.stored_id} - {None}
    jobs = [w for w in waiting_runs(run.connection.outbox) if w.tag(Tag.PARENT) in own]
    bad = [w for w in jobs if w.status != "FINISHED" and not w.has(Tag.PRUNED)]
    return len(bad), len(jobs)


def log_models(connection: Connection, data: SweepData, which: str) -> str | None:
    """Log the encoder of the ``best`` job, of ``all`` or of ``none``; return the best's address.

    A job that took another's result is left to the run that trained; a run has one model at most.
    """
    best = best_job(data)
    if which == "none" or best is None:
        return None
    rows = [row for _, row in data.finished.iterrows()] if which == "all" else [best]
    found = {str(row["run_id"]): _log_once(connection, row) for row in rows}
    return found[str(best["run_id"])]


def _log_once(connection: Connection, job: pd.Series) -> str | None:
    """Log one job's encoder unless its run has a model already."""
    from hyperspec.tracking.pyfunc_model import log_encoder

    client = connection.client
    run_id = str(job["resumed_from"] or job["run_id"])
    run = read_run(client, run_id)
    if run.model_id is not None:
        return f"models:/{run.model_id}"
    params = run.params
    num_features = params.get(Param.NUM_FEATURES)
    folder, _, name = Artifact.CHECKPOINT.rpartition("/")
    listed = {Path(entry.path).name for entry in client.list_artifacts(run_id, folder)}
    if num_features is None or name not in listed:
        log.warning("%s has no checkpoint to make a model of", job["name"])
        return None
    with tempfile.TemporaryDirectory(prefix="hyperspec-") as temporary:
        local = client.download_artifacts(run_id, Artifact.CHECKPOINT, temporary)
        logged = log_encoder(
            connection,
            run_id,
            Path(local),
            int(num_features),
            loader=LOADER,
            about={key: params[key] for key in _SHOWN if key in params},
        )
    return str(logged.model_uri)
