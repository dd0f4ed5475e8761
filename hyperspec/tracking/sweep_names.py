"""Names of sweeps, quick enough for the Tab key: MLflow is not imported."""

from __future__ import annotations

import contextlib
import sqlite3

from hyperspec.tracking import environment
from hyperspec.tracking.client import resolve_uri
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.health import database_path
from hyperspec.utils.errors import TrackingError

_MOST = 20
_NEWEST = """
SELECT runs.name FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
WHERE tags.key = ? AND tags.value = 'sweep' AND runs.lifecycle_stage = 'active'
ORDER BY runs.start_time DESC LIMIT ?
"""


def newest_sweeps() -> list[str]:
    """Return the names of the newest sweeps in the SQLite store that commands take by default.

    None where there is no such store, or it cannot be read now.
    """
    try:
        path = database_path(resolve_uri(environment.store_address(None)[0]))
    except TrackingError:
        return []
    if path is None or not path.is_file():
        return []
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as base:
            return [str(name) for (name,) in base.execute(_NEWEST, (Tag.KIND, _MOST))]
    except sqlite3.Error:
        return []
