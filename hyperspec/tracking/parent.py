"""The run of a whole sweep, and the note in the sweep's folder by which its jobs find it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

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


def write_parent(sweep_dir: Path, info: ParentInfo) -> Path:
    """Write the note; only its owner may read it (an address may hold a password)."""
    target = sweep_dir / NOTE
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
        return ParentInfo(**{name: str(content[name]) for name in known})
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise TrackingError(
            f"{path} does not name the sweep's run ({error}). Start the sweep again, or remove "
            "the file to run its jobs on their own."
        ) from error
