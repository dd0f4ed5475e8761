"""Jobs read from an SQLite file are those that MLflow's client gives."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from pathlib import Path

import pytest

from hyperspec.tracking.client import connect
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.health import database_path
from hyperspec.tracking.record import RunRecord, search_runs
from hyperspec.tracking.run import start_run
from hyperspec.tracking.run_rows import read_jobs


def compared(run: RunRecord) -> dict[str, object]:
    """Return what both ways tell, NaN as a word."""
    found = dataclasses.asdict(dataclasses.replace(run, datasets=(), model_id=None))
    found["metrics"] = {k: "nan" if math.isnan(v) else v for k, v in run.metrics.items()}
    return found


def test_jobs_are_those_that_mlflow_gives(tmp_path: Path) -> None:
    connection = connect(f"sqlite:///{tmp_path}/mlflow.db", "study")
    with start_run(connection, "a sweep", kind="sweep") as parent:
        for number, value in enumerate((0.5, math.nan, math.inf)):
            params = {"seed": str(number), "lr": "0.001"}
            job = start_run(connection, f"job {number}", parent_run_id=parent.run_id, params=params)
            with job:
                job.log_metrics({"objective": 0.1, "val/knn_top1": value}, 1)
                job.log_metrics({"objective": 0.2}, 2)
        start_run(connection, "bare", parent_run_id=parent.run_id).finish("FAILED")
        gone = start_run(connection, "deleted", parent_run_id=parent.run_id)
        gone.finish()
        connection.client.delete_run(gone.run_id)
    with start_run(connection, "another sweep", kind="sweep") as other:
        start_run(connection, "its job", parent_run_id=other.run_id).finish()
    database = database_path(connection.uri)
    assert database is not None
    found = read_jobs(database, parent.run_id)
    wanted = search_runs(
        connection.client, [connection.known_experiment()], [Tag.PARENT.equals(parent.run_id)]
    )
    assert len(wanted) == 4
    by_id = {run.run_id: compared(run) for run in wanted}
    assert {run.run_id: compared(run) for run in found} == by_id
    assert [run.start_ms for run in found] == sorted((r.start_ms for r in wanted), reverse=True)
    assert read_jobs(database, "no such sweep") == []


def test_a_file_that_is_no_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"no database")
    with pytest.raises(sqlite3.Error):
        read_jobs(tmp_path / "other.db", "0")
