"""Runs read back: of a SQLite file with a few queries, of a server through MLflow.

Importing MLflow and opening a file with it takes more than two seconds of a processor, most of what
a report, or a word such as ``latest``, needs otherwise. Files of tables that this package was not
tried with, and servers, are read by MLflow.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hyperspec.tracking.client import open_client
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.database import TRIED, check_runs_database, revision_of
from hyperspec.tracking.health import (
    LOCKED_SECONDS,
    check_exists,
    database_path,
    read_only,
    shown,
    sqlite_address,
)
from hyperspec.tracking.record import RunRecord, ended, read_run, search_runs
from hyperspec.tracking.relocation import mend_addresses
from hyperspec.utils.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_COLUMNS = (
    "run_uuid, name, status, start_time, end_time, experiment_id, artifact_uri, lifecycle_stage"
)
_VALUES = (
    "run_uuid, key, value FROM tags",
    "run_uuid, key, value FROM params",
    "run_uuid, key, value, is_nan FROM latest_metrics",
)
_NEWEST = "ORDER BY start_time DESC, run_uuid"


class Reader(Protocol):
    """What reports and forecasts ask of a store; records come without datasets and models."""

    def run(self, run_id: str) -> RunRecord:
        """Return a run, also one in the bin.

        Raises:
            TrackingError: If a file holds none of that identity.
            MlflowException: If a server does.
        """

    def runs(
        self,
        experiment_id: str,
        tag: Tag,
        value: str,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[RunRecord]:
        """Return an experiment's runs whose tag has a value, the newest first, without the bin's.

        ``status`` is such as FINISHED, and ``limit`` the most that are wanted.
        """

    def experiment(self, name: str) -> str | None:
        """Return an experiment's identity; None without one."""

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return steps and values of a metric as they were written; empty without any."""


def open_reader(uri: str) -> Reader:
    """Open a store for reading, at its absolute address.

    Raises:
        UnreachableError: If a server does not answer.
        TrackingError: If it cannot be opened; the message names it.
    """
    database = database_path(uri)
    if database is None:
        return _Client(open_client(uri))
    check_exists(uri)
    check_runs_database(uri)
    mend_addresses(database)
    return File(database) if revision_of(uri) == TRIED else _Client(open_client(uri))


class _Client:
    """A store that MLflow reads."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def run(self, run_id: str) -> RunRecord:
        return read_run(self._client, run_id)

    def runs(
        self,
        experiment_id: str,
        tag: Tag,
        value: str,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[RunRecord]:
        conditions = [tag.equals(value), *([ended(status)] if status else [])]
        return search_runs(self._client, [experiment_id], conditions, limit=limit)

    def experiment(self, name: str) -> str | None:
        found = self._client.get_experiment_by_name(name)
        return None if found is None else str(found.experiment_id)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        rows = self._client.get_metric_history(run_id, metric)
        return [(row.step, row.value) for row in sorted(rows, key=lambda row: row.timestamp)]


class File:
    """A SQLite file with tables of the version ``TRIED``."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def run(self, run_id: str) -> RunRecord:
        """Return a run, also one in the bin."""
        found = self._records("WHERE run_uuid = ?", run_id)
        if not found:
            raise TrackingError(f"There is no run {run_id} in {self._shown}.")
        return found[0]

    def runs(
        self,
        experiment_id: str,
        tag: Tag,
        value: str,
        *,
        status: str | None = None,
        limit: int | None = None,
    ) -> list[RunRecord]:
        """Return an experiment's runs whose tag has a value, the newest first."""
        where = (
            "WHERE lifecycle_stage = 'active' AND experiment_id = ? AND status = ifnull(?, status)"
            " AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value = ?)"
        )
        values = (int(experiment_id), status, str(tag), value, -1 if limit is None else limit)
        return self._records(f"{where} {_NEWEST} LIMIT ?", *values)

    def experiment(self, name: str) -> str | None:
        """Return an experiment's identity; None without one."""
        with self._reading() as base:
            query = "SELECT experiment_id FROM experiments WHERE name = ?"
            row = base.execute(query, (name,)).fetchone()
        return None if row is None else str(row[0])

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return steps and values of a metric as they were written."""
        query = (
            "SELECT step, value, is_nan FROM metrics WHERE run_uuid = ? AND key = ? "
            "ORDER BY timestamp, step, value"
        )
        with self._reading() as base:
            rows = base.execute(query, (run_id, metric)).fetchall()
        return [(step, _number(value, is_nan)) for step, value, is_nan in rows]

    @property
    def _shown(self) -> str:
        return shown(sqlite_address(self._database))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Open the file, whose tables stay together as they are until the end."""
        try:
            with closing(read_only(self._database, LOCKED_SECONDS)) as base:
                base.execute("BEGIN")
                yield base
        except sqlite3.Error as error:
            raise TrackingError(f"{self._shown} cannot be read ({error}).") from error

    def _records(self, where: str, *values: object) -> list[RunRecord]:
        """Return the runs that a condition of this module picks; what it compares are values."""
        chosen = f"run_uuid IN (SELECT run_uuid FROM runs {where})"  # noqa: S608
        with self._reading() as base:
            rows = base.execute(f"SELECT {_COLUMNS} FROM runs {where}", values).fetchall()  # noqa: S608
            tags, params, metrics = (
                _by_run(base.execute(f"SELECT {what} WHERE {chosen}", values)) for what in _VALUES
            )
        return [
            RunRecord(
                run_id,
                str(name),
                status,
                tags.get(run_id, {}),
                metrics.get(run_id, {}),
                params.get(run_id, {}),
                start,
                end,
                str(experiment),
                str(place),
                is_deleted=stage == "deleted",
            )
            for run_id, name, status, start, end, experiment, place, stage in rows
        ]


def _by_run(rows: Iterable[Sequence[Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run_id, key, value, *is_nan in rows:
        found.setdefault(run_id, {})[key] = _number(value, *is_nan)
    return found


def _number(value: Any, is_nan: int = 0) -> Any:
    """Return what a row holds: SQLite knows no NaN, so that it has a column of its own."""
    return math.nan if is_nan else value
