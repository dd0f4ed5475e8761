"""The run of a whole sweep, and the note in the sweep's folder by which its jobs find it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from hyperspec.tracking.health import database_path, default_outbox, sqlite_address
from hyperspec.utils.atomic import write_text
from hyperspec.utils.errors import TrackingError

NOTE = "sweep.json"
# Note of an error: a job of a sweep failed and the others ran on, as opposed to wrong words.
IN_SWEEP = "in a job of a sweep"


@dataclass(frozen=True)
class ParentInfo:
    """What a job needs to put its run under the sweep's."""

    parent_run_id: str
    tracking_uri: str
    """Absolute address of the store."""
    experiment: str
    study: str
    name: str
    host: str = ""
    """Machine of the controller."""
    process: str = ""
    """The controller, as :func:`hyperspec.utils.process.process_tag` names it."""
    scheduler: str = ""
    """SLURM job that the controller runs in, if any."""
    outbox: str = ""
    """Folder that keeps what the store does not have yet."""
    store: str = ""
    """Path of a SQLite file from the sweep's folder, for when both have moved."""


def write_parent(sweep_dir: Path, info: ParentInfo) -> Path:
    """Write the note; only its owner may read it (an address may hold a password)."""
    target, database = sweep_dir / NOTE, database_path(info.tracking_uri)
    if database is not None:
        info = replace(info, store=os.path.relpath(database, sweep_dir))
    write_text(target, json.dumps(asdict(info), indent=2), secure=True, private=True)
    return target


def find_parent(sweep_dir: Path) -> ParentInfo | None:
    """Return the parent run noted in a sweep's folder, or None when there is no note.

    Raises:
        TrackingError: If the note is there but cannot be read.
    """
    path = sweep_dir / NOTE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = [field.name for field in fields(ParentInfo) if field.name in content]
        info = ParentInfo(**{name: str(content[name]) for name in known})
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise TrackingError(
            f"{path} does not name the sweep's run ({error}). Start the sweep again, or remove "
            "the file to run its jobs on their own."
        ) from error
    database = database_path(info.tracking_uri)
    return info if database is None else _where_it_is(sweep_dir, info, database)


def _where_it_is(sweep_dir: Path, info: ParentInfo, noted: Path) -> ParentInfo:
    """Let a note name its SQLite file where that lies now: a folder may have moved, or be a copy.

    Notes of 0.1.0 have no path from the sweep's folder; for them the file is looked for above it.
    """
    folder = Path(os.path.abspath(sweep_dir))
    places = [Path(os.path.normpath(folder / info.store))] if info.store else []
    places += [noted, *(above / noted.name for above in folder.parents)]
    found = next((place for place in places if place.is_file()), None)
    if found is None or (noted.exists() and found.samefile(noted)):
        return info
    outbox = info.outbox
    if Path(outbox) == default_outbox(noted):
        outbox = str(default_outbox(found))
    return replace(info, tracking_uri=sqlite_address(found), outbox=outbox)
