"""What a run has to say, on disk before it is sent: one folder per run, one line per saying.

The folder holds ``run.json`` (what the run is), ``journal.jsonl`` (tags, parameters, metrics,
files and the end, in order), ``files/`` (copies of artifacts), ``sent.json`` (how far the server
has it) and ``lock`` (held by the process that writes). A line is in the operating system's hands
when :meth:`Journal.append` returns, so that a killed process loses none; :meth:`Journal.secure`
puts it on the disk, against a power cut.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from hyperspec.tracking.contract import LOCAL
from hyperspec.tracking.health import database_path, default_outbox, sqlite_address
from hyperspec.tracking.offline.journal_lines import Entry, is_texts, read_lines
from hyperspec.tracking.record import RunRecord
from hyperspec.utils.atomic import write_text

log = logging.getLogger(__name__)

_HEAD, _LINES, _SENT, _LOCK, _FILES = "run.json", "journal.jsonl", "sent.json", "lock", "files"
_LINKED = 4 << 20  # bytes from which a file is linked, not copied: checkpoints, which are replaced

MAX_METRICS, MAX_NAMES = 900, 100  # rows, and parameters or tags, that MLflow takes in one call
BATCHED = ("tags", "params", "metrics")


@dataclass(frozen=True)
class Head:
    """What is known of a run at its start."""

    local_id: str
    uri: str
    """Address of the store, without a password."""
    experiment: str
    name: str
    start_ms: int
    tags: Mapping[str, str]


def new_local_id() -> str:
    """Return a fresh identity of a run."""
    return f"{LOCAL}{uuid.uuid4().hex}"


@dataclass(frozen=True)
class WaitingRun(RunRecord):
    """A run as its journal tells it."""

    experiment: str = ""
    uri: str = ""
    folder: Path = Path()


class Journal:
    """One run's folder, locked for this process; see :meth:`create` and :meth:`open`."""

    def __init__(self, folder: Path, head: Head, lock: FileLock) -> None:
        self.folder, self.head, self._lock = folder, head, lock
        self.run_id, self.sent = _read_sent(folder)
        self._file: IO[str] | None = None
        self._torn = False
        # Above those that are sent too: what is added next must not be taken for one of them.
        self._next = 1 + max([self.sent, *(int(line["seq"]) for line in read_entries(folder))])

    @classmethod
    def create(cls, outbox: Path, head: Head) -> Journal:
        """Begin a run's folder.

        Raises:
            OSError: If it cannot be written.
        """
        folder = outbox / head.local_id
        folder.mkdir(parents=True)
        lock = FileLock(folder / _LOCK, thread_local=False)
        lock.acquire(timeout=0)
        write_text(folder / _HEAD, json.dumps(asdict(head)), secure=True)
        return cls(folder, head, lock)

    @classmethod
    def open(cls, folder: Path) -> Journal | None:
        """Take over a folder whose writer is gone; None when another process holds it.

        A folder without a readable ``run.json`` was begun by a process that died at once: nothing
        was said in it, and it is removed.
        """
        lock = FileLock(folder / _LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # held, or removed meanwhile, by another process
            return None
        head = read_head(folder)
        if head is None:
            _remove(folder, lock)
            return None
        return cls(folder, head, lock)

    def append(self, entry: Entry) -> Entry:
        """Write one line; return it with its number. A full disk is told once and survived."""
        line = {"seq": self._next, **entry}
        self._next += 1
        try:
            if self._file is None:
                self._torn = self._torn or _ends_torn(self.folder / _LINES)
                self._file = (self.folder / _LINES).open("a", encoding="utf-8")
            # After a write that failed half way, the next line begins on a line of its own.
            self._file.write(("\n" if self._torn else "") + json.dumps(line) + "\n")
            self._file.flush()
            self._torn = False
        except OSError as error:
            if not self._torn:
                log.warning("%s cannot be written (%s); it is sent unkept", self.folder, error)
            self._torn = True
            self._close_file()
        return line

    def secure(self) -> None:
        """Put what was written on the disk."""
        if self._file is not None:
            try:
                os.fsync(self._file.fileno())
            except (OSError, ValueError) as error:  # a full disk, or closed after one
                log.warning("%s cannot be secured: %s", self.folder, error)

    def entries(self) -> list[Entry]:
        """Return the lines that are not known to be sent, in order; torn lines are left out."""
        return [e for e in read_entries(self.folder) if int(e["seq"]) > self.sent]

    def keep_file(self, source: Path, name: str) -> str:
        """Keep a file until it is sent; return where, relative to the folder.

        Raises:
            OSError: If there is no room.
        """
        target = self.new_file(name)
        try:
            if source.stat().st_size >= _LINKED and hasattr(os, "link"):
                os.link(source, target)
                return str(target.relative_to(self.folder))
        except OSError as error:
            log.debug("%s is copied, since it cannot be linked: %s", source, error)
        shutil.copyfile(source, target)
        return str(target.relative_to(self.folder))

    def new_file(self, name: str) -> Path:
        """Return a fresh path for an artifact of that name."""
        folder = self.folder / _FILES
        folder.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(dir=folder)) / name

    def set_run_id(self, run_id: str) -> None:
        """Note the identity that the server gave."""
        self.run_id = run_id
        self._note()

    def set_sent(self, seq: int) -> None:
        """Note that the server has everything up to a line."""
        self.sent = seq
        self._note()

    def _note(self) -> None:
        try:
            write_text(self.folder / _SENT, json.dumps({"run_id": self.run_id, "seq": self.sent}))
        except OSError as error:  # the line is sent once more at worst, and not doubled
            log.warning("%s cannot be written: %s", self.folder / _SENT, error)

    def close(self, remove: bool = False, refused: Sequence[str] = ()) -> None:
        """Let go of the folder, and remove it when everything was sent.

        With lines that the store will never take it goes to ``refused`` beside the outbox instead,
        with their texts in ``refused.txt``.
        """
        self._close_file()
        if remove and refused:
            text = "".join(f"{line}\n" for line in refused)
            (self.folder / "refused.txt").write_text(text, encoding="utf-8")
            target = self.folder.parent.parent / "refused" / self.folder.name
            target.parent.mkdir(exist_ok=True)
            try:
                self.folder.rename(target)
            except PermissionError:  # Windows moves no folder with an open file: the lock
                self._lock.release()
                self.folder.rename(target)
        elif remove:
            _remove(self.folder, self._lock)
        self._lock.release()

    def _close_file(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.close()
        except OSError as error:
            log.debug("closing %s: %s", self.folder, error)


def _remove(folder: Path, lock: FileLock) -> None:
    """Remove a run's folder and let go of it; Windows keeps the lock, a file that is open."""
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def read_head(folder: Path) -> Head | None:
    """Return what a run's folder is about, or None without a readable head.

    The outbox beside a SQLite file belongs to that file, wherever both were moved or copied to.
    """
    try:
        head = Head(**json.loads((folder / _HEAD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (head.local_id, head.uri, head.experiment, head.name)
    if not (all(isinstance(text, str) for text in texts) and isinstance(head.start_ms, int)):
        return None
    if not is_texts(head.tags):
        return None
    noted, outbox = database_path(head.uri), folder.parent.absolute()
    beside = outbox.parent.parent / (noted.name if noted else "")
    if noted is None or outbox != default_outbox(beside) or not beside.is_file():
        return head
    if noted.exists() and noted.samefile(beside):
        return head
    return replace(head, uri=sqlite_address(beside))


def read_entries(folder: Path) -> list[Entry]:
    """Return all lines of a run's folder, see :func:`read_lines`."""
    return read_lines(folder / _LINES)


def read_run_id(folder: Path) -> str | None:
    """Return the identity that the store gave the run of a folder, or None."""
    return _read_sent(folder)[0]


def _ends_torn(path: Path) -> bool:
    try:
        return path.read_bytes()[-1:] not in (b"", b"\n")
    except OSError:
        return False


def _read_sent(folder: Path) -> tuple[str | None, int]:
    try:
        found = json.loads((folder / _SENT).read_text(encoding="utf-8"))
        run_id, seq = found["run_id"], int(found["seq"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None, 0
    return (run_id, seq) if isinstance(run_id, str | None) else (None, 0)


def pending(outbox: Path) -> list[Path]:
    """Return the folders of the outbox, oldest run first."""
    if not outbox.is_dir():
        return []
    folders = [path for path in outbox.iterdir() if path.name.startswith(LOCAL)]
    heads = {path: read_head(path) for path in folders}
    started = {path: head.start_ms if head else 0 for path, head in heads.items()}
    return sorted(folders, key=lambda path: (started[path], path.name))


def waiting_runs(outbox: Path) -> list[WaitingRun]:
    """Return what the journals of an outbox tell, oldest first, those of living runs included."""
    found = []
    for folder in pending(outbox):
        head = read_head(folder)
        if head is None:
            continue
        tags, metrics, status = dict(head.tags), dict[str, float](), "RUNNING"
        for entry in read_entries(folder):
            tags |= entry.get("tags", {})
            metrics |= {name: float(value) for name, value in entry.get("metrics", {}).items()}
            metrics |= {name: float(value) for name, value, *_ in entry.get("rows", ())}
            status = entry["status"] if entry["op"] == "end" else status
        found.append(
            WaitingRun(
                head.local_id,
                head.name,
                status,
                tags,
                metrics,
                experiment=head.experiment,
                uri=head.uri,
                folder=folder,
            )
        )
    return found


def grouped(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Put neighbours that fit into one call together."""
    group: list[Entry] = []
    counts = [0, 0, 0]
    for entry in entries:
        alone = entry["op"] not in BATCHED
        own = [len(part) for part in merged([entry])]
        more = [count + new for count, new in zip(counts, own, strict=True)]
        full = more[0] > MAX_NAMES or more[1] > MAX_NAMES or sum(more) > MAX_METRICS
        if group and (alone or full):
            yield group
            group, more = [], own
        counts = more
        group.append(entry)
        if alone:
            yield group
            group, counts = [], [0, 0, 0]
    if group:
        yield group


def merged(group: Sequence[Entry]) -> tuple[dict[str, str], dict[str, str], list[Sequence[Any]]]:
    """Return the tags, the parameters and the rows of metrics of several lines."""
    tags: dict[str, str] = {}
    params: dict[str, str] = {}
    rows: list[Sequence[Any]] = []
    for entry in group:
        tags |= entry.get("tags", {})
        params |= entry.get("params", {})
        rows += entry.get("rows", [])
    return tags, params, rows
