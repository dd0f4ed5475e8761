"""The jobs of a sweep, read from an SQLite file without MLflow's objects.

MLflow makes an object of each parameter, tag and metric: some milliseconds for each of our jobs, a
minute for ten thousand of them. What a report reads of these are the rows of four tables.
"""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

from hyperspec.tracking.contract import Tag
from hyperspec.tracking.record import RunRecord
from hyperspec.tracking.run_index import open_readonly

_JOBS = "(SELECT run_uuid FROM tags WHERE key = ? AND value = ?)"
_RUNS = f"""
SELECT run_uuid, name, status, start_time, end_time, experiment_id, artifact_uri FROM runs
WHERE lifecycle_stage = 'active' AND run_uuid IN {_JOBS} ORDER BY start_time DESC, run_uuid
"""  # noqa: S608 - constants
# A field of RunRecord, its table, and what of it is the value.
_VALUES = (
    ("tags", "tags", "value"),
    ("metrics", "latest_metrics", "CASE WHEN is_nan THEN NULL ELSE value END"),
    ("params", "params", "value"),
)


def read_jobs(database: Path, parent_run_id: str) -> list[RunRecord]:
    """Return a sweep's jobs as :func:`hyperspec.tracking.record.search_runs` does, newest first.

    Their links to data sets and models are left out.

    Raises:
        sqlite3.Error: If the file cannot be read as a store.
    """
    parent = (Tag.PARENT.value, parent_run_id)
    found: defaultdict[str, dict[str, dict[str, Any]]]
    found = defaultdict(lambda: {field: {} for field, *_ in _VALUES})
    with closing(open_readonly(database)) as tables:
        runs = tables.execute(_RUNS, parent).fetchall()
        for field, table, value in _VALUES:
            query = f"SELECT run_uuid, key, {value} FROM {table} WHERE run_uuid IN {_JOBS}"  # noqa: S608
            for run_id, key, one in tables.execute(query, parent):
                found[run_id][field][key] = math.nan if one is None else one
    return [
        RunRecord(
            run_id=run_id,
            name=name,
            status=status,
            start_ms=start,
            end_ms=end,
            experiment_id=str(experiment),
            artifact_uri=place,
            tags=found[run_id]["tags"],
            metrics=found[run_id]["metrics"],
            params=found[run_id]["params"],
        )
        for run_id, name, status, start, end, experiment, place in runs
    ]
