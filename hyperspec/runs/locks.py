"""No job runs twice at a time: one process holds a job's identity, on one machine or on many.

On one machine a file lock does it, and falls with its process however that ends. Machines that
share a tracking server and no folder take turns by Lamport's bakery algorithm: each contender
writes a number above all it sees into the tags of its own run, and the lowest number goes first. It
needs no more of the store than that a tag that was written is seen by the next search; MLflow has
no "set if unset".

Source: L. Lamport, "A new solution of Dijkstra's concurrent programming problem", CACM 17 (1974).
"""

from __future__ import annotations

import itertools
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.health import database_path
from hyperspec.tracking.record import RunRecord, ended, search_runs
from hyperspec.tracking.retry import first_line, is_trouble, retry_store, store_errors
from hyperspec.utils.errors import TrackingError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rhythm:
    """How often contenders look and show that they live, in seconds."""

    look: float = 2.0
    beat: float = 15.0
    silence: float = 120.0
    """Looks on one machine's own clock without a beat, after which a contender counts as dead."""


@contextmanager
def claim(
    connection: Connection, wanted: str, run_id: str | None = None, rhythm: Rhythm | None = None
) -> Iterator[None]:
    """Hold a job's identity while it runs, so that no other sweep runs it at the same time.

    Look for a finished run inside the claim: the one who waited then finds the result of the one
    who held it. ``run_id`` is the job's own run on the store. Without it, and where the store does
    not answer, the claim reaches one machine: an outage may cost a training, never a job. Writing a
    claim waits some seconds for an answer, a turn in the queue ``rhythm.silence``.
    """
    database = database_path(connection.uri)
    root = Path(tempfile.gettempdir()) if database is None else database.parent
    folder = root / ".hyperspec-claims"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        lock = FileLock(folder / f"{wanted}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("job %s runs in another process; waiting for its result", wanted)
            lock.acquire()
        stack.callback(lock.release)
        if database is None and run_id is not None:
            lease = _Lease(connection, run_id, wanted, rhythm or Rhythm())
            stack.enter_context(lease.held())
        yield


class _Lease:
    """A place in the queue for an identity, kept in the tags of a run."""

    def __init__(self, connection: Connection, run_id: str, wanted: str, rhythm: Rhythm) -> None:
        self.connection, self.run_id = connection, run_id
        self.wanted, self.rhythm = wanted, rhythm
        self._seen: dict[str, tuple[str, float]] = {}
        self._looked = time.monotonic()
        self._over = threading.Event()
        self._unwritten = False  # the last beat did not arrive

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the turn, and hold it while showing life."""
        beating = threading.Thread(target=self._beat, name="claim", daemon=True)
        beating.start()
        try:
            try:
                with store_errors():
                    self._take_turn()
            except TrackingError as error:
                log.warning("job %s is claimed on this machine alone: %s", self.wanted, error)
            yield
        finally:
            self._over.set()
            beating.join()
            self._try_tag(Tag.CLAIM, "")

    def _take_turn(self) -> None:
        for tag, value in ((Tag.BEAT, "0"), (Tag.TICKET, "0"), (Tag.CLAIM, self.wanted)):
            self._tag(tag, value)
        ticket = 1 + max((_ticket(run) for run in self._look(self.rhythm.look)), default=0)
        self._tag(Tag.TICKET, str(ticket))
        self._wait(ticket)

    def _wait(self, ticket: int) -> None:
        told = False
        while ahead := [
            run for run in self._look(self.rhythm.silence) if self._goes_first(run, ticket)
        ]:
            if not told:
                log.info("job %s runs as %s; waiting", self.wanted, ahead[0].name)
                told = True
            time.sleep(self.rhythm.look)

    def _goes_first(self, run: RunRecord, ticket: int) -> bool:
        theirs = _ticket(run)  # 0 while it is being chosen
        return theirs == 0 or (theirs, run.run_id) < (ticket, self.run_id)

    def _look(self, seconds: float) -> list[RunRecord]:
        """Return the others; wait so long for a store that does not answer."""
        return retry_store(self._others, seconds, self.connection.shown_uri)

    def _others(self) -> list[RunRecord]:
        """Return the living contenders besides this one."""
        contend = [Tag.CLAIM.equals(self.wanted), ended("RUNNING")]
        # Asked once: whoever calls waits, and tells an outage in one line.
        experiment = self.connection.known_experiment()
        found = search_runs(self.connection.client, [experiment], contend)
        now = time.monotonic()
        # A store that was away for long has shown nobody's beats: that time is nobody's silence.
        step = min(now - self._looked, 2 * self.rhythm.look)
        self._looked = now
        return [
            run
            for run in found
            if run.run_id != self.run_id
            and not run.is_left_behind
            and self._silence(run, step) < self.rhythm.silence
        ]

    def _silence(self, run: RunRecord, step: float) -> float:
        """Return how long a contender has shown no beat, by our own clock."""
        beat, silent = self._seen.get(run.run_id, ("", 0.0))
        now = run.tag(Tag.BEAT)
        silent = silent + step if now == beat else 0.0
        self._seen[run.run_id] = (now, silent)
        return silent

    def _beat(self) -> None:
        count = itertools.count(1)
        while not self._over.wait(self.rhythm.beat):
            self._try_tag(Tag.BEAT, str(next(count)))

    def _tag(self, key: str, value: str) -> None:
        self.connection.ask(lambda client: client.set_tag(self.run_id, key, value))

    def _try_tag(self, key: str, value: str) -> None:
        try:
            self.connection.client.set_tag(self.run_id, key, value)
        except Exception as error:
            if not self._unwritten:  # an outage of a week has 40,000 beats
                trace = None if is_trouble(error) else error
                text = "the claim on job %s could not be written (%s)"
                log.warning(text, self.wanted, first_line(error), exc_info=trace)
            self._unwritten = True
        else:
            self._unwritten = False


def _ticket(run: RunRecord) -> int:
    text = run.tag(Tag.TICKET)
    return int(text) if text.isdigit() else 0
