"""Finish what earlier processes left: journals that the store does not have, and open runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.tracking.client import Connection, connect
from hyperspec.tracking.contract import LOCAL, Tag
from hyperspec.tracking.environment import with_password
from hyperspec.tracking.health import check_exists, shown
from hyperspec.tracking.offline.journal import Journal, pending, read_entries, read_head
from hyperspec.tracking.offline.uploader import Uploader
from hyperspec.tracking.record import RunRecord, ended
from hyperspec.tracking.retry import NotYetError, UnreachableError, first_line, is_trouble
from hyperspec.utils.errors import TrackingError

if TYPE_CHECKING:
    from hyperspec.tracking.run import Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """A run that is not whole on its store."""

    name: str
    parent: str
    """Identity of its sweep's run, empty without one."""
    reason: str


@dataclass
class Delivery:
    """What became of the journals of an outbox."""

    sent: list[str] = field(default_factory=list)
    """Identities on the store of the runs that are whole there now."""
    waiting: list[Waiting] = field(default_factory=list)
    """Runs that are not."""
    away: str = ""
    """Why the store of one of them does not answer; empty where each that was asked answered."""
    busy: int = 0
    """Runs that a living process still writes; it sends them itself."""
    moved: dict[str, str] = field(default_factory=dict)
    """Identities of runs that the store had no more, with those that they have now."""
    refused: list[str] = field(default_factory=list)
    """Lines that the store will never take, with the reason."""


def send_outbox(
    outbox: Path,
    *,
    uri: str | None = None,
    only: str | None = None,
    sent: Callable[[str], None] | None = None,
) -> Delivery:
    """Send every journal that no living process writes, oldest first, so that parents come first.

    A journal without an end is one of a process that was killed: its run is closed as FAILED, a
    sweep's as KILLED. After the first trouble with a store the rest of its runs waits.

    Runs go to ``uri`` instead of the address that each began with; ``only`` leaves out those of
    other addresses; ``sent`` is called with a line for each run that was sent. A run that was
    deleted waits alone; one whose lines were put aside counts as sent, and is in ``refused``.
    """
    found, away = Delivery(), dict[str, str]()
    connections: dict[tuple[str, str], Connection] = {}
    for folder in pending(outbox):
        head = read_head(folder)
        if head is not None and only is not None and shown(head.uri) != shown(only):
            continue
        journal = Journal.open(folder)
        if journal is None:
            found.busy += folder.exists()
            continue
        target = uri or only or with_password(journal.head.uri)
        name, parent = journal.head.name, journal.head.tags.get(Tag.PARENT, "")
        if target in away:
            found.waiting.append(Waiting(name, parent, away[target]))
            journal.close()
            continue
        try:
            if uri is None:
                check_exists(target)  # a file that is gone is not begun anew where it was
            key = (target, journal.head.experiment)
            if key not in connections:
                connections[key] = connect(*key)
            lost = _send(journal, connections[key], found)
        except Exception as error:
            journal.close()
            found.waiting.append(Waiting(name, parent, first_line(error)))
            if isinstance(error, NotYetError):
                continue
            if is_trouble(error) or isinstance(error, TrackingError):
                found.away = away[target] = first_line(error)
            else:
                log.warning("%s could not be sent", name, exc_info=True)
        else:
            if sent is not None:
                less = f" without {lost} of its lines" if lost else ""
                sent(f"sent {name} as {found.sent[-1]}{less}")
    return found


def _send(journal: Journal, connection: Connection, found: Delivery) -> int:
    """Send a journal; return how many of its lines the store refuses."""
    parent = journal.head.tags.get(Tag.PARENT, "")
    orphan = parent.startswith(LOCAL) and not (journal.folder.parent / parent).exists()
    uploader = Uploader(journal, connection, orphans=orphan, moved=found.moved)
    if not any(line["op"] == "end" for line in read_entries(journal.folder)):
        head = journal.head
        status, reason = _left_behind(RunRecord(head.local_id, head.name, "RUNNING", head.tags))
        journal.append({"op": "tags", "tags": {Tag.REASON: reason}})
        journal.append({"op": "end", "status": status, "time_ms": int(time.time() * 1000)})
        journal.secure()
    run_id = uploader.open_run()
    for _ in uploader.send(journal.entries()):
        pass
    found.refused += uploader.refused
    found.sent.append(run_id)
    journal.close(remove=True, refused=uploader.refused)
    return len(uploader.refused)


def _left_behind(run: RunRecord) -> tuple[Status, str]:
    """Return how a run is closed whose process is gone, and why."""
    parts = run.tag(Tag.PROCESS).split("/")
    number, host = parts[2] if len(parts) == 4 else "?", run.tag(Tag.HOST) or "?"
    reason = f"process {number} on {host} ended without closing its run"
    return "KILLED" if run.is_sweep else "FAILED", reason


def catch_up(connection: Connection) -> None:
    """Send what earlier runs left in the outbox, then close runs whose process is gone.

    In this order: what a run had to say, its end above all, comes before the guess that it died.
    A store that is away is told, and left for later.
    """
    delivery = send_outbox(connection.outbox, only=connection.uri, sent=log.info)
    if delivery.waiting:
        first = delivery.waiting[0]
        log.warning(
            "%d runs wait in %s (%s: %s)",
            *(len(delivery.waiting), connection.outbox, first.name, first.reason),
        )
    if connection.offline:
        return
    try:
        close_stale(connection)
    except UnreachableError as error:
        log.warning("runs that a killed process left RUNNING stay so for now: %s", error)


def close_stale(connection: Connection) -> list[str]:
    """Close every RUNNING run of the experiment whose process on this machine is gone.

    Jobs become FAILED, parents of sweeps KILLED. Runs of other machines and runs that carry no
    process are left alone. Returns the identities of the closed runs.
    """
    closed = []
    for run in connection.search(ended("RUNNING")):
        if not run.is_left_behind:
            continue
        status, reason = _left_behind(run)
        _close(connection, run.run_id, status, reason)
        closed.append(run.run_id)
        log.warning("closed stale run %s: %s", run.name, reason)
    return closed


def close_earlier_starts(connection: Connection, parent_run_id: str, job: str) -> list[str]:
    """Close the runs of a sweep's job that its launcher, Ray or SLURM starts once more.

    A job is started again only when its process was lost or sent away, on whatever machine that
    was, so that nothing else can still write them. They are no failures: each is marked as
    requeued, and what it had to say is sent before. ``job`` is the value of its ``Tag.JOB``.
    Returns their identities; a store that is away is told, and left for later.
    """

    def unfinished() -> list[RunRecord]:
        found = connection.search(Tag.PARENT.equals(parent_run_id), Tag.JOB.equals(job))
        return [run for run in found if run.status != "FINISHED"]

    try:
        if not (earlier := unfinished()):
            return []
        send_outbox(connection.outbox, only=connection.uri)
        earlier = unfinished()
        for run in earlier:
            if run.status == "RUNNING":
                _close(connection, run.run_id, *_left_behind(run))
            _tag(connection, run.run_id, Tag.REQUEUED, "true")
    except UnreachableError as error:
        log.warning("earlier starts of job %s stay as they are for now: %s", job, error)
        return []
    return [run.run_id for run in earlier]


def close_children(connection: Connection, parent_run_id: str, status: Status) -> list[str]:
    """Close a sweep's jobs that still say RUNNING when the sweep is over; return which.

    Their processes are gone or about to go: a sweep ends when all its jobs have returned.
    """
    closed = []
    for run in connection.search(ended("RUNNING"), Tag.PARENT.equals(parent_run_id)):
        _close(connection, run.run_id, status, "the sweep ended before the job closed its run")
        closed.append(run.run_id)
    return closed


def _close(connection: Connection, run_id: str, status: Status, reason: str) -> None:
    _tag(connection, run_id, Tag.REASON, reason)
    connection.ask(lambda client: client.set_terminated(run_id, status))


def _tag(connection: Connection, run_id: str, tag: Tag, value: str) -> None:
    connection.ask(lambda client: client.set_tag(run_id, tag, value))
