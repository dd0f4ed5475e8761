"""The end of a sweep: runs are closed and jobs are counted."""

from __future__ import annotations

import logging
import shlex
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
    """The sweep as the store has it, or None when the store cannot say."""
    text: str = ""
    """What to say of results that the store does not have."""
    held: bool = False
    """Whether results wait that the store will not take by itself: a run of theirs was deleted."""


def close_sweep(run: JobRun, error: BaseException | None) -> Ending:
    """Send what waits, close the parent and the jobs that the controller itself left open.

    When the store is away, the jobs are counted from their journals, and stay there. ``error`` is
    what ended the sweep, if anything did.
    """
    from hyperspec.tracking.cleanup import send_outbox
    from hyperspec.tracking.retry import NotYetError, UnreachableError
    from hyperspec.tracking.run import describe, interrupted

    stopped = error is not None and interrupted(error)
    run.flush()
    delivery = send_outbox(run.connection.outbox, only=run.connection.uri)
    own = {run.run_id, run.stored_id} - {None}
    trouble = UnreachableError(delivery.away) if delivery.away else None
    waiting = [] if trouble else delivery.waiting  # of a store that is away no more is known
    held = [f"{one.name}: {one.reason}" for one in waiting if one.parent in own]
    failed, total = 0, 0
    if trouble is None:
        try:
            data = _stored(run, "KILLED" if stopped else "FAILED")
            failed, total = len(data.failed), len(data.jobs)
        except UnreachableError as found:
            trouble = found
    if trouble is not None:
        failed, total = _count_waiting(run)
    reason = describe(error) if error is not None else None
    if failed and not stopped:
        reason = f"{failed} of {total} jobs failed"
    run.finish("KILLED" if stopped else "FAILED" if reason else "FINISHED", reason)
    if trouble is None:
        try:
            data = _stored(run, None)
            return Ending(failed, data, _held_text(run, held) if held else "", bool(held))
        except UnreachableError as found:
            trouble = found
    if isinstance(trouble, NotYetError):
        held.append(f"the sweep itself: {trouble}")
    text = _held_text(run, held) if held else _away_text(run, trouble)
    return Ending(failed, None, text, bool(held))


def _away_text(run: JobRun, trouble: Exception) -> str:
    outbox = run.connection.outbox
    return (
        f"{run.connection.shown_uri} does not have all of this sweep yet ({trouble}) Nothing "
        f"is lost: the rest is in {outbox}. When the store is back:\n"
        f"  hyperspec sync {shlex.quote(str(outbox))}"
    )


def _held_text(run: JobRun, held: list[str]) -> str:
    """Say which runs' results wait for something that was deleted to be restored."""
    lines = "".join(f"  {line}\n" for line in held)
    outbox = run.connection.outbox
    return (
        f"{run.connection.shown_uri} does not take the results of {len(held)} runs:\n{lines}"
        f"Nothing is lost: they are in {outbox}. When it is restored:\n"
        f"  hyperspec sync {shlex.quote(str(outbox))}"
    )


def _stored(run: JobRun, close: Status | None) -> SweepData:
    """Return the sweep from the store, which must know it, after closing its open jobs.

    Raises:
        UnreachableError: If the store does not answer or does not know the sweep yet.
        NotYetError: If the sweep's run was deleted.
    """
    from hyperspec.report.load import load_sweep
    from hyperspec.tracking.cleanup import close_children
    from hyperspec.tracking.retry import NotYetError, UnreachableError

    parent = run.stored_id
    if parent is None:
        raise UnreachableError(f"{run.connection.shown_uri} does not know the sweep yet.")
    if not run.connection.ask(lambda _: run.connection.has_run(parent)):
        raise NotYetError(f"the run {parent} was deleted for good.")
    if close is not None:
        close_children(run.connection, parent, close)
    return run.connection.ask(lambda _: load_sweep(run.connection.uri, [parent]))


def _count_waiting(run: JobRun) -> tuple[int, int]:
    """Return how many jobs failed, and how many there are, of those that wait."""
    from hyperspec.tracking.offline.journal import waiting_runs

    own = {run.run_id, run.stored_id} - {None}
    waiting = [w for w in waiting_runs(run.connection.outbox) if w.tag(Tag.PARENT) in own]
    jobs = {w.tag(Tag.JOB) or w.run_id: w for w in waiting}.values()  # the last start of each
    bad = [w for w in jobs if w.status != "FINISHED" and not w.has(Tag.PRUNED)]
    return len(bad), len(jobs)
