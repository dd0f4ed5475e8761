"""A SQLite file is read as MLflow reads it, without MLflow; others are left to MLflow."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from hyperspec.tracking import reader as module
from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.database import TRIED, newest_revision
from hyperspec.tracking.health import database_path
from hyperspec.tracking.reader import File, Reader, open_reader
from hyperspec.tracking.record import RunRecord
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import TrackingError

pytestmark = pytest.mark.skipif(
    newest_revision() != TRIED, reason="tables of another version, which MLflow reads"
)


@pytest.fixture
def filled(connection: Connection) -> Connection:
    """Three runs of a sweep, one of them in the bin, and one of another."""
    for number in range(4):
        tags: dict[str, str] = {Tag.STUDY: "it's" if number < 3 else "other"}
        with start_run(connection, f"run {number}", tags=tags, params={"seed": str(number)}) as run:
            for step in range(3):
                run.log_metrics(
                    {"loss": step + number / 10, "odd": math.nan, "far": math.inf}, step
                )
            run.log_metrics({"loss": 7.0}, 1)  # an interrupted run that went on
        if number == 2:
            connection.client.delete_run(run.run_id)
    with pytest.raises(KeyError), start_run(connection, "bad", tags={Tag.STUDY: "it's"}):
        raise KeyError
    return connection


def both(connection: Connection) -> tuple[Reader, Reader]:
    file = open_reader(connection.uri)
    assert isinstance(file, File)
    return file, module._Client(connection.client)


def same(one: RunRecord, other: RunRecord) -> None:
    assert replace(one, metrics={}, datasets=()) == replace(other, metrics={}, datasets=())
    assert one.metrics.keys() == other.metrics.keys()
    for name, value in one.metrics.items():
        assert value == pytest.approx(other.metrics[name], rel=0, abs=0, nan_ok=True)


def test_a_file_says_what_mlflow_says(filled: Connection) -> None:
    file, client = both(filled)
    where = file.experiment(filled.experiment)
    assert where == client.experiment(filled.experiment) == filled.known_experiment()
    assert file.experiment("none") is client.experiment("none") is None
    found = file.runs(where, Tag.KIND, "job")
    expected = client.runs(where, Tag.KIND, "job")
    assert sorted(run.name for run in found) == ["bad", "run 0", "run 1", "run 3"]
    assert [run.run_id for run in found] == [run.run_id for run in expected]
    for one, other in zip(found, expected, strict=True):
        same(one, other)
        same(file.run(one.run_id), client.run(one.run_id))
        for metric in ("loss", "odd", "none"):
            one_by_one = zip(
                file.history(one.run_id, metric), client.history(one.run_id, metric), strict=True
            )
            assert all(str(mine) == str(theirs) for mine, theirs in one_by_one)
    assert [run.name for run in file.runs(where, Tag.STUDY, "it's", status="FINISHED")] == [
        run.name for run in found if run.name in ("run 0", "run 1")
    ]
    assert file.runs(where, Tag.KIND, "job", limit=2) == found[:2]


def test_a_deleted_run_is_read_by_its_identity(filled: Connection) -> None:
    file, client = both(filled)
    database = database_path(filled.uri)
    assert database is not None
    with closing(sqlite3.connect(database)) as base:
        (run_id,) = base.execute("SELECT run_uuid FROM runs WHERE name = 'run 2'").fetchone()
    assert file.run(run_id).is_deleted
    same(file.run(run_id), client.run(run_id))


def test_what_is_not_there_or_cannot_be_read_is_an_error(
    connection: Connection, tmp_path: Path
) -> None:
    with pytest.raises(TrackingError, match="There is no run nowhere in sqlite:"):
        open_reader(connection.uri).run("nowhere")
    with pytest.raises(TrackingError, match="There is no tracking store at"):
        open_reader(f"sqlite:///{tmp_path}/none.db")
    (tmp_path / "x.db").write_text("no database, " * 100)
    with pytest.raises(TrackingError, match=r"x\.db cannot be read \(file is not a database\)"):
        File(tmp_path / "x.db").run("any")


def test_tables_of_another_version_are_left_to_mlflow(
    filled: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIED", "feedfacecafe")
    found = open_reader(filled.uri)
    assert not isinstance(found, File)
    assert len(found.runs(filled.known_experiment(), Tag.KIND, "job")) == 4


def test_a_file_is_read_without_mlflow(filled: Connection) -> None:
    code = (
        "import sys; from hyperspec.report.load import load_sweep, read_history\n"
        f"data = load_sweep({filled.uri!r}, ['run 1'], {filled.experiment!r})\n"
        f"assert read_history({filled.uri!r}, data.jobs.run_id[0], 'loss')[1, 1] == 7\n"
        "print(sorted({'mlflow', 'sqlalchemy', 'alembic'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout == "[]\n", shown.stderr
