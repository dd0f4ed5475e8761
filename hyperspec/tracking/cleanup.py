"""Close runs whose process died without a word (kill -9, power loss)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.offline.outbox import send_outbox
from hyperspec.tracking.record import ended
from hyperspec.tracking.retry import UnreachableError

if TYPE_CHECKING:
    from hyperspec.tracking.run import Status

log = logging.getLogger(__name__)


def catch_up(connection: Connection) -> None:
    """Send what earlier runs left in the outbox, then close runs whose process is gone.

    In this order: what a run had to say, its end above all, comes before the guess that it died.
    A store that is away is told, and left for later.
    """
    delivery = send_outbox(connection.outbox, only=connection.uri, told=log.info)
    if delivery.waiting:
        log.warning("%d runs wait in %s", len(delivery.waiting), connection.outbox)
    if connection.offline:
        return
    try:
        reap_stale(connection)
    except UnreachableError as error:
        log.warning("runs that a killed process left RUNNING stay so for now: %s", error)


def reap_stale(connection: Connection) -> list[str]:
    """Close every RUNNING run of the experiment whose process on this machine is gone.

    Jobs become FAILED, parents of sweeps KILLED. Runs of other machines and runs that carry no
    process are left alone.

    Returns:
        The identities of the closed runs.
    """
    closed = []
    for run in connection.search(ended("RUNNING")):
        if not run.is_left_behind:
            continue
        number = run.tag(Tag.PROCESS).split("/")[2]
        reason = f"process {number} on {run.tag(Tag.HOST)} ended without closing its run"
        _close(connection, run.run_id, "KILLED" if run.is_sweep else "FAILED", reason)
        closed.append(run.run_id)
        log.warning("closed stale run %s: %s", run.name, reason)
    return closed


def close_children(connection: Connection, parent_run_id: str, status: Status) -> list[str]:
    """Close a sweep's jobs that still say RUNNING when the sweep is over.

    Their processes are gone or about to go: a sweep ends when all its jobs have returned.

    Returns:
        The identities of the closed runs.
    """
    closed = []
    for run in connection.search(ended("RUNNING"), Tag.PARENT.equals(parent_run_id)):
        _close(connection, run.run_id, status, "the sweep ended before the job closed its run")
        closed.append(run.run_id)
    return closed


def _close(connection: Connection, run_id: str, status: Status, reason: str) -> None:
    connection.ask(lambda client: client.set_tag(run_id, Tag.REASON, reason))
    connection.ask(lambda client: client.set_terminated(run_id, status))
