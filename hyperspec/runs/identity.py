"""When are two jobs the same job? A hash of everything that decides a result.

It covers the resolved config, the data, the split and the package's own source. Fields of the
schema marked ``metadata={"identity": False}`` (paths, workers, logging) are left out; fields marked
``metadata={"content": True}`` name a file and count by what is in it.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePath

from hyperspec.tracking.client import Connection
from hyperspec.tracking.names import OBJECTIVE, TAG_IDENTITY, TAG_OBJECTIVES
from hyperspec.tracking.offline.outbox import waiting_runs
from hyperspec.tracking.retry import UnreachableError
from hyperspec.utils.errors import ConfigError

log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).resolve().parents[1]
# Rooms that decide how runs are started, kept and shown, not what they compute.
_NOT_SOURCE = (
    "cli.py",
    "commands",
    "launch.py",
    "jobs.py",
    "tracking",
    "sweeps",
    "planning",
    "conf",
)
_DIGITS = 16  # hex digits; 64 bits: a million jobs collide with probability 3e-8


Objective = float | tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run of the same identity that ended well."""

    run_id: str
    objective: Objective
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Metrics that are the objective, by name."""


def identity(config: object, data_hash: str, split_hash: str, source: str | None = None) -> str:
    """Return the identity of a job, 16 hex digits.

    Args:
        config: The checked config, a dataclass of dataclasses; the class of each counts.
        data_hash: Hash of the specimens.
        split_hash: Hash of the split.
        source: Hash of the code; the package's own by default.

    Raises:
        ConfigError: If the config holds something that has no stable text.
    """
    parts = [canonical(config), data_hash, split_hash, source or source_hash()]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=_DIGITS // 2).hexdigest()


def canonical(value: object, place: str = "") -> object:
    """Return a config as plain JSON values, without the fields that decide nothing.

    Raises:
        ConfigError: If a value has no stable text; the message names its place.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept: dict[str, object] = {"": type(value).__qualname__}
        for field in dataclasses.fields(value):
            if field.metadata.get("identity", True):
                inner, key = getattr(value, field.name), f"{place}.{field.name}".lstrip(".")
                by_content = field.metadata.get("content", False)
                kept[field.name] = _content(inner) if by_content else canonical(inner, key)
        return kept
    if isinstance(value, Mapping):
        return {str(key): canonical(inner, f"{place}.{key}") for key, inner in value.items()}
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence):
        return [canonical(inner, f"{place}.{i}") for i, inner in enumerate(value)]
    raise ConfigError(
        f"{place or 'The config'} holds a {type(value).__name__}, which has no stable text, so "
        "that the job has no identity. Use plain values, or mark the field with "
        "metadata={'identity': False} if it decides nothing."
    )


def _content(value: object) -> object:
    """Return the hash of the named file; a word that is no file (DEFAULT, null) as it is."""
    if not isinstance(value, str | PurePath) or not Path(value).is_file():
        return canonical(value)
    with Path(value).open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


@lru_cache
def source_hash(package: Path = _PACKAGE) -> str:
    """Return the hash of the package's Python files, except those that decide no result."""
    digest = hashlib.blake2b(digest_size=_DIGITS // 2)
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in _NOT_SOURCE:
            # The length parts name and content, so that no move of text between files goes unseen.
            content = path.read_bytes()
            digest.update(f"{name.as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def find_finished(connection: Connection, wanted: str) -> Finished | None:
    """Return the newest finished run of an identity that has a finite objective, or None."""
    query = f"tags.`{TAG_IDENTITY}` = '{wanted}' and attributes.status = 'FINISHED'"
    order = ["attributes.start_time DESC"]
    try:
        runs = list(
            connection.ask(
                lambda client: client.search_runs(
                    [connection.known_experiment()], query, order_by=order
                )
            )
        )
    except UnreachableError as error:
        log.warning("whether the job was finished before is not known: %s", error)
        runs = []
    for run in runs:
        found = _result(str(run.info.run_id), run.data.tags, run.data.metrics)
        if found is not None:
            return found
    # What the store does not have yet waits beside it.
    for waiting in reversed(waiting_runs(connection.outbox)):
        same = (waiting.uri, waiting.experiment) == (connection.uri, connection.experiment)
        if same and waiting.status == "FINISHED" and waiting.tags.get(TAG_IDENTITY) == wanted:
            found = _result(waiting.local_id, waiting.tags, waiting.metrics)
            if found is not None:
                return found
    return None


def _result(run_id: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> Finished | None:
    """Return what a finished run reached, or None when that is not finite."""
    several = tags.get(TAG_OBJECTIVES)
    named = [OBJECTIVE] if several is None else several.split(",")
    values = tuple(float(metrics.get(name, math.nan)) for name in named)
    # MLflow keeps an infinity as the largest double.
    if not all(math.isfinite(value) and abs(value) < 1e300 for value in values):
        return None
    known = dict(zip(named, values, strict=True))
    return Finished(run_id, values[0] if several is None else values, known)
