"""The end of a sweep: runs are closed and jobs are counted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperspec.tracking.contract import Tag

if TYPE_CHECKING:
    from hyperspec.report.load import SweepData
    from hyperspec.tracking.run import JobRun, Status


log = logging.getLogger(__name__)


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
    from hyperspec.tracking.retry import UnreachableError
    from hyperspec.tracking.run import describe, interrupted

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
    from hyperspec.tracking.retry import UnreachableError

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
