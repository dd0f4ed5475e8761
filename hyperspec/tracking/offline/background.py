"""A thread that sends a run's journal, so that no step of a training waits for a store."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from hyperspec.tracking.health import database_path
from hyperspec.tracking.offline.journal import Entry
from hyperspec.tracking.offline.uploader import Courier
from hyperspec.tracking.retry import (
    FIRST_PAUSE,
    LOCKED_SECONDS,
    LONGEST_PAUSE,
    REQUEST_SECONDS,
    first_line,
    is_trouble,
)

log = logging.getLogger(__name__)

_DRAIN_SECONDS = 60.0  # longest wait at a run's end for a server that answers, but slowly
_SERVER_TRIES = 2  # at a run's end, when the last try before went well


class Sender:
    """Writes lines to the journal at once and sends them every few seconds.

    Args:
        courier: Who sends; its journal is closed by the thread when it ends.
        flush_seconds: Longest wait before lines are sent, seconds.
    """

    def __init__(self, courier: Courier, flush_seconds: float) -> None:
        self.courier, self.journal = courier, courier.journal
        self._flush_seconds = flush_seconds
        self._patient = database_path(courier.connection.uri) is not None
        self._queue: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._hurry = self._stop = False
        self._failures, self._pause = 0, 0.0
        name = f"sender-{self.journal.head.local_id[-8:]}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, entry: Entry) -> None:
        """Write a line to the journal and put it in line for sending."""
        with self._changed:
            if self._stop:
                log.warning("%s is closed; not logged: %s", self.journal.head.name, entry["op"])
                return
            self._queue.append(self.journal.append(entry))
            self._changed.notify_all()

    def drain(self, seconds: float | None = None) -> bool:
        """Send what waits now; return whether the store has everything.

        A server in trouble is tried at most twice; a locked SQLite file for up to 60 s.

        Args:
            seconds: Longest wait, seconds.
        """
        longest = LOCKED_SECONDS if self._patient else _DRAIN_SECONDS
        deadline = time.monotonic() + (longest if seconds is None else seconds)
        with self._changed:
            tries = 1 if self._pause else _SERVER_TRIES
            last = self._failures + tries
            self._hurry = True
            self._changed.notify_all()
            while self._queue and self._thread.is_alive():
                left = deadline - time.monotonic()
                if left <= 0 or (self._failures >= last and not self._patient):
                    break
                self._changed.wait(left)
            self._hurry = False
            return not self._queue

    def close(self, seconds: float | None = None) -> bool:
        """Send what waits and let go of the journal; what is not sent stays in its folder.

        Args:
            seconds: Longest wait, seconds.

        Returns:
            Whether the store has everything.
        """
        complete = self.drain(seconds)
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        # A call in flight is waited for, unless time presses: then the thread lets go by itself.
        self._thread.join(REQUEST_SECONDS + 2 if seconds is None else 1.0)
        return complete

    def _work(self) -> None:
        while self._wait():
            self._try()
        everything = not self._queue and self.journal.run_id is not None
        self.journal.close(remove=everything, refused=self.courier.refused)

    def _wait(self) -> bool:
        """Wait until it is time to send; return False when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop or self._queue)
            if self._pause:
                # Someone in a hurry gets one try at once, and then tries with short pauses.
                self._changed.wait_for(lambda: self._stop or self._hurry, self._pause)
                if self._hurry and not self._stop:
                    self._changed.wait_for(lambda: self._stop, min(self._pause, FIRST_PAUSE))
            else:
                self._changed.wait_for(lambda: self._stop or self._hurry, self._flush_seconds)
            return not self._stop

    def _try(self) -> None:
        with self._changed:
            entries = list(self._queue)
        self.journal.secure()
        done = 0
        try:
            for count in self.courier.send(entries):
                with self._changed:
                    for _ in range(count - done):
                        self._queue.popleft()
                    done = count
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - the thread must live; what failed is told
            self._note(error)
            return
        if self._pause:
            log.warning("%s: the store takes what waited", self.journal.head.name)
        self._pause = 0.0

    def _note(self, error: Exception) -> None:
        """Keep what is left for the next try, after a pause that grows."""
        if not self._pause:
            log.warning(
                "%s: %d lines wait in %s for %s (%s)",
                self.journal.head.name,
                len(self._queue),
                self.journal.folder,
                self.courier.connection.shown_uri,
                first_line(error),
                exc_info=None if is_trouble(error) else error,
            )
        with self._changed:
            self._failures += 1
            self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
            self._changed.notify_all()
