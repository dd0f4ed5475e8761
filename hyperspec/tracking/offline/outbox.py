"""The folder of journals that a store does not have yet: send them, and look into them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hyperspec.tracking.client import Connection, connect
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.offline.journal import LOCAL, Entry, Journal, read_entries, read_head
from hyperspec.tracking.offline.uploader import Courier
from hyperspec.tracking.record import RunRecord
from hyperspec.tracking.retry import first_line, is_trouble
from hyperspec.utils.errors import TrackingError

log = logging.getLogger(__name__)


@dataclass
class Delivery:
    """What became of the journals of an outbox."""

    sent: list[str] = field(default_factory=list)
    """Identities on the store of the runs that are whole there now."""
    waiting: dict[str, str] = field(default_factory=dict)
    """Names of runs that are not, with the reason."""
    busy: int = 0
    """Runs that a living process still writes; it sends them itself."""
    refused: list[str] = field(default_factory=list)
    """Lines that the store will never take, with the reason."""


@dataclass(frozen=True)
class WaitingRun(RunRecord):
    """A run as its journal tells it."""

    experiment: str = ""
    uri: str = ""
    folder: Path = Path()


def send_outbox(
    outbox: Path,
    *,
    uri: str | None = None,
    only: str | None = None,
    told: Callable[[str], None] | None = None,
) -> Delivery:
    """Send every journal that no living process writes, oldest first, so that parents come first.

    A journal without an end is one of a process that was killed: its run is closed as FAILED, a
    sweep's as KILLED. After the first trouble with a store the rest of its runs waits.

    Args:
        outbox: The folder.
        uri: Where to, instead of the address that each run began with.
        only: Address whose runs are sent; those of all by default.
        told: Called with a line for each run that was sent.
    """
    found, away = Delivery(), dict[str, str]()
    connections: dict[tuple[str, str], Connection] = {}
    for folder in pending(outbox):
        head = read_head(folder)
        if head is not None and only is not None and head.uri != only:
            continue
        journal = Journal.open(folder)
        if journal is None:
            found.busy += folder.exists()
            continue
        target = uri or journal.head.uri
        if target in away:
            found.waiting[journal.head.name] = away[target]
            journal.close()
            continue
        try:
            key = (target, journal.head.experiment)
            if key not in connections:
                connections[key] = connect(*key)
            _send(journal, connections[key], found)
        except Exception as error:
            journal.close()
            found.waiting[journal.head.name] = first_line(error)
            if is_trouble(error) or isinstance(error, TrackingError):
                away[target] = first_line(error)
            else:
                log.warning("%s could not be sent", journal.head.name, exc_info=True)
        else:
            if told is not None:
                told(f"sent {journal.head.name} as {found.sent[-1]}")
    return found


def _send(journal: Journal, connection: Connection, found: Delivery) -> None:
    """Send one journal, and remove it."""
    parent = journal.head.tags.get(Tag.PARENT, "")
    orphan = parent.startswith(LOCAL) and not (journal.folder.parent / parent).exists()
    courier = Courier(journal, connection, orphans=orphan, uncertain=True)
    lines = read_entries(journal.folder)
    if not any(line["op"] == "end" for line in lines):
        for line in _closing_lines(journal):
            journal.append(line)
        journal.secure()
    run_id = courier.open_run()
    for _ in courier.send(journal.entries()):
        pass
    found.refused += courier.refused
    found.sent.append(run_id)
    journal.close(remove=True, refused=courier.refused)


def _closing_lines(journal: Journal) -> Iterator[Entry]:
    tags = journal.head.tags
    parts = tags.get(Tag.PROCESS, "").split("/")
    number = parts[2] if len(parts) == 4 else "?"
    reason = f"process {number} on {tags.get(Tag.HOST, '?')} ended without closing its run"
    status = "KILLED" if tags.get(Tag.KIND) == "sweep" else "FAILED"
    yield {"op": "tags", "tags": {Tag.REASON: reason}}
    yield {"op": "end", "status": status, "time_ms": int(time.time() * 1000)}


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
            tags |= _texts(entry.get("tags"))
            known = entry.get("metrics")
            metrics |= known if isinstance(known, dict) else {}
            rows = entry.get("rows")
            metrics |= {row[0]: float(row[1]) for row in rows} if isinstance(rows, list) else {}
            status = str(entry["status"]) if entry["op"] == "end" else status
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


def _texts(value: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}
