"""Bring a run's journal to its store, in order, each line with effect once.

An answer can be lost after the store took what was sent. So the run carries the journal's identity
as a tag and is looked for before it is created anew; tags, parameters, files and the end may be
sent twice without harm; and rows of metrics are compared with what the run has already whenever
the line before them was not certainly the last one that arrived.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.tracking.contract import LOCAL, Tag
from hyperspec.tracking.copy_run import copy_run
from hyperspec.tracking.health import LOCKED_SECONDS, database_path
from hyperspec.tracking.offline.journal import (
    BATCHED,
    Head,
    Journal,
    grouped,
    merged,
    read_run_id,
)
from hyperspec.tracking.offline.journal_lines import Entry
from hyperspec.tracking.record import read_run, search_runs
from hyperspec.tracking.retry import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    REQUEST_SECONDS,
    NotYetError,
    first_line,
    is_refusal,
    is_trouble,
)
from hyperspec.utils.foreign_paths import inside

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric

    from hyperspec.tracking.client import Connection

log = logging.getLogger(__name__)

DRAIN_SECONDS = 60.0  # longest wait at a run's end for a server that answers, but slowly
SERVER_TRIES = 2  # at a run's end, when the last try before went well
_LARGEST = sys.float_info.max


class Uploader:
    """Sends one run's journal, which this process holds.

    ``orphans`` sends a run all the same whose parent is nowhere to be found. ``moved`` is given for
    a journal whose process is gone, so that what follows the last known line may have arrived
    before; it gets the old and new identities of runs that are sent anew.
    """

    def __init__(
        self,
        journal: Journal,
        connection: Connection,
        orphans: bool = False,
        moved: dict[str, str] | None = None,
    ) -> None:
        self.journal, self.connection, self.orphans = journal, connection, orphans
        self.refused: list[str] = []
        self._moved, self._uncertain = moved, moved is not None

    def open_run(self) -> str:
        """Return the run's identity on the store; look for the run, create it if there is none.

        A journal that was begun on another store, or whose run was deleted for good, is sent whole
        anew: its folder has every line until the store has all of them.

        Raises:
            UnreachableError: If the store, or the run's parent on it, is not there yet.
            NotYetError: If the run, or its experiment, was deleted and may come back.
        """
        head, known = self.journal.head, self.journal.run_id
        if known is not None:
            if not self._uncertain or self.connection.has_run(known):
                return known
            if self._moved is None:
                raise NotYetError(f"the run {known} was deleted for good; it is sent anew later.")
        found = find_local(self.connection, head.local_id) if self._uncertain else None
        lost = found is None and self._uncertain
        if lost and (gone := find_local(self.connection, head.local_id, deleted=True)):
            self.connection.has_run(gone)  # raises: created again it would be there twice
        if found is None:
            tags = {**head.tags, Tag.LOCAL_ID: head.local_id}
            if Tag.PARENT in tags:
                parent = self._resolve(tags[Tag.PARENT])
                tags[Tag.PARENT] = (self._moved or {}).get(parent, parent)
            self._uncertain = True  # until the answer is there
            found = self._create_run(head, tags)
            self._uncertain = False
        if known is not None and self._moved is not None:
            log.warning("%s: there is no run %s; sent anew as %s", head.name, known, found)
            self.journal.set_sent(0)
            self._moved[known] = found
        self.journal.set_run_id(found)
        return found

    def _create_run(self, head: Head, tags: Mapping[str, str]) -> str:
        experiment = self.connection.known_experiment()
        try:
            made = self.connection.client.create_run(
                experiment, start_time=head.start_ms, tags=dict(tags), run_name=head.name
            )
        except Exception as error:
            if is_refusal(error):  # deleted since it was looked up?
                self.connection.experiment_id = ""
                self.connection.known_experiment()
            raise
        return str(made.info.run_id)

    def send(self, entries: Sequence[Entry]) -> Iterator[int]:
        """Send lines in order; yield after each call how many of them the store has.

        Raises:
            Exception: What the store raised, for lines that may be sent again later.
        """
        run_id = self.open_run()
        done = 0
        for group in grouped(entries):
            try:
                self._send(run_id, group)
            except Exception as error:
                if not self._is_refused(run_id, error):
                    self._uncertain = True
                    raise
                self._send_singly(run_id, group)
            self._uncertain = False
            done += len(group)
            self.journal.set_sent(int(group[-1]["seq"]))
            yield done

    def _send_singly(self, run_id: str, group: Sequence[Entry]) -> None:
        """Send what was refused together line by line; give up the lines that are at fault."""
        for entry in group:
            try:
                self._send(run_id, [entry])
            except Exception as error:
                if not self._is_refused(run_id, error):
                    raise
                self._refuse(entry, first_line(error))

    def _is_refused(self, run_id: str, error: Exception) -> bool:
        """Say whether the store will never take a line.

        Raises:
            NotYetError: If it takes none as long as the run is deleted.
        """
        if not is_refusal(error):
            return False
        self.connection.has_run(run_id)
        return True

    def _refuse(self, entry: Entry, reason: str) -> None:
        """Put a line aside that cannot be sent."""
        text = f"{self.journal.head.name}: {entry['op']} refused: {reason}"
        self.refused.append(text)
        log.error("%s. The line stays out of the store: %s", text, str(entry)[:500])

    def _send(self, run_id: str, group: Sequence[Entry]) -> None:
        kind = str(group[0]["op"])
        if kind in BATCHED:
            self._send_batch(run_id, group)
            return
        (entry,) = group
        client = self.connection.client
        if kind == "artifact":
            path = self._file(str(entry["file"]))
            if path is None:
                self._refuse(entry, f"{entry['file']} lies outside of the folder of the outbox")
            elif path.exists():
                client.log_artifact(run_id, str(path), entry.get("folder"))
            else:
                self._refuse(entry, f"the file {path} is gone")
        elif kind == "copy":
            source, whole = self._source(entry["source"]), tuple(entry.get("whole", ()))
            copy_run(client, source, run_id, entry.get("until_step"), whole)
        elif kind == "datasets":
            client.log_inputs(run_id, _datasets(entry))
        elif kind == "end":
            self._end(run_id, entry)
        else:
            self._refuse(entry, f"lines of the kind '{kind}' are not known")

    def _file(self, name: str) -> Path | None:
        """Return an artifact's file; None where somebody else may have named it, to get at it.

        Absolute where there was no room for a copy: then the original is sent. What another process
        left, whose folder may come from anywhere, names files beside its outbox alone.
        """
        folder = self.journal.folder
        if (path := inside(folder, name)) is not None or self._moved is None:
            return path or folder / name
        outbox = folder.absolute().parent
        around = outbox.parent.parent if outbox.parent.name == ".hyperspec" else outbox.parent
        return inside(around, name) if Path(name).is_absolute() else None

    def _send_batch(self, run_id: str, group: Sequence[Entry]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        tags, params, rows = merged(group)
        metrics = [Metric(str(r[0]), float(r[1]), int(r[2]), int(r[3])) for r in rows]
        if self._uncertain and metrics:
            metrics = _missing(self.connection, run_id, metrics)
        if not tags and not params and not metrics:
            return
        self.connection.client.log_batch(
            run_id,
            metrics=metrics,
            params=[Param(key, value) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def _end(self, run_id: str, entry: Entry) -> None:
        client, status = self.connection.client, str(entry["status"])
        if self._uncertain and status == "FINISHED":
            # Somebody may have closed the run as left behind, while its result waited here.
            known = read_run(client, run_id)
            if known.status != status and known.has(Tag.REASON):
                client.delete_tag(run_id, Tag.REASON)
        client.set_terminated(run_id, status, int(entry["time_ms"]))

    def _source(self, run_id: str) -> str:
        """Return the identity on the store of a run to be copied, which must be there whole."""
        outbox = self.journal.folder.parent
        for folder in outbox.iterdir() if outbox.is_dir() else ():
            if folder != self.journal.folder and run_id in (folder.name, read_run_id(folder)):
                raise NotYetError(f"the run {run_id} is to be copied, and not sent whole yet.")
        return self._resolve(run_id)

    def _resolve(self, run_id: str) -> str:
        """Return a run's identity on the store, which must have one already."""
        if not run_id.startswith(LOCAL):
            return run_id
        found = find_local(self.connection, run_id)
        if found is None and not self.orphans:
            raise NotYetError(f"the run {run_id}, which others refer to, is not sent yet.")
        return found or run_id


def find_local(connection: Connection, local_id: str, *, deleted: bool = False) -> str | None:
    """Return the identity on the store of a run that began without one, or None."""
    where = [connection.known_experiment()]
    runs = search_runs(connection.client, where, [Tag.LOCAL_ID.equals(local_id)], deleted=deleted)
    return runs[-1].run_id if runs else None


def _missing(connection: Connection, run_id: str, metrics: list[Metric]) -> list[Metric]:
    known = {
        _row(metric)
        for key in {metric.key for metric in metrics}
        for metric in connection.client.get_metric_history(run_id, key)
    }
    return [metric for metric in metrics if _row(metric) not in known]


def _row(metric: Metric) -> tuple[str, int, int, str]:
    # As text, since NaN differs from itself; the store keeps an infinity as the largest double.
    value = max(-_LARGEST, min(_LARGEST, metric.value)) if metric.value == metric.value else "nan"
    return metric.key, metric.step, metric.timestamp, repr(value)


def _datasets(entry: Entry) -> list[DatasetInput]:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(**found["dataset"]), [InputTag(k, v) for k, v in found["tags"].items()]
        )
        for found in entry["inputs"]
    ]


class Background:
    """A thread that sends what is written to the journal, so that no step waits for a store.

    Lines wait ``flush_seconds`` at most. The thread closes the journal when it ends.
    """

    def __init__(self, uploader: Uploader, flush_seconds: float) -> None:
        self.uploader, self.journal = uploader, uploader.journal
        self._flush_seconds = flush_seconds
        self._is_file = database_path(uploader.connection.uri) is not None
        self._queue: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._now = self._stop = False
        self._waits = True  # trouble may pass soon, as that of a file that is locked
        self._failures, self._pause = 0, 0.0
        name = f"uploader-{self.journal.head.local_id[-8:]}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Write a line to the journal and put it in line for sending."""
        with self._changed:
            if self._stop:
                log.warning("%s is closed; not logged: %s", self.journal.head.name, entry["op"])
                return
            self._queue.append(self.journal.append(entry))
            self._changed.notify_all()

    def drain(self, seconds: float | None = None) -> bool:
        """Send what waits now, for some seconds at most; return whether the store has everything.

        A server in trouble is tried at most twice; a locked SQLite file for up to 60 s.
        """
        longest = LOCKED_SECONDS if self._is_file else DRAIN_SECONDS
        deadline = time.monotonic() + (longest if seconds is None else seconds)
        with self._changed:
            tries = 1 if self._pause else SERVER_TRIES
            last = self._failures + tries
            self._now = True
            self._changed.notify_all()
            while self._queue and self._thread.is_alive():
                left = deadline - time.monotonic()
                if left <= 0 or (self._failures >= last and not (self._is_file and self._waits)):
                    break
                self._changed.wait(left)
            self._now = False
            return not self._queue

    def close(self, seconds: float | None = None) -> bool:
        """Send what waits and let go of the journal; what is not sent stays in its folder.

        Waits for some seconds at most, and returns whether the store has everything.
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
        self.journal.close(remove=everything, refused=self.uploader.refused)

    def _wait(self) -> bool:
        """Wait until it is time to send; return False when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stop or self._queue)
            if self._pause:
                # What is asked for now gets one try at once, and then tries with short pauses.
                self._changed.wait_for(lambda: self._stop or self._now, self._pause)
                if self._now and not self._stop:
                    self._changed.wait_for(lambda: self._stop, min(self._pause, FIRST_PAUSE))
            else:
                self._changed.wait_for(lambda: self._stop or self._now, self._flush_seconds)
            return not self._stop

    def _try(self) -> None:
        with self._changed:
            entries = list(self._queue)
        self.journal.secure()
        done = 0
        try:
            for count in self.uploader.send(entries):
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
                self.uploader.connection.shown_uri,
                first_line(error),
                exc_info=None if is_trouble(error) or isinstance(error, NotYetError) else error,
            )
        with self._changed:
            self._waits = not isinstance(error, NotYetError)
            self._failures += 1
            self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
            self._changed.notify_all()
