"""A new store's tables are those that MLflow's migrations make, without running them."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow.store.db.utils
import pytest
from write_mlflow_tables import migrate

from hyperspec.tracking import new_store
from hyperspec.tracking.client import connect, open_client
from hyperspec.tracking.database import TRIED, newest_revision
from hyperspec.tracking.new_store import TABLES, lay_tables

known = pytest.mark.skipif(
    newest_revision() != TRIED, reason="tables of another version, which MLflow makes"
)
_PRAGMAS = ("table_xinfo", "foreign_key_list")
_CONSTRAINT = re.compile(r"CONSTRAINT\s+\"?(\w+)")


def described(database: Path) -> dict[str, object]:
    """Return what a database's tables are made of, whatever the text of their statements."""
    with closing(sqlite3.connect(database)) as base:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
        found: dict[str, object] = {}
        for name, statement in base.execute(query).fetchall():
            parts = [base.execute(f"PRAGMA {one}('{name}')").fetchall() for one in _PRAGMAS]
            indices = base.execute(f"PRAGMA index_list('{name}')").fetchall()
            parts.append(sorted(row[1:] for row in indices))  # without their place in the list
            rows = base.execute(f'SELECT * FROM "{name}"').fetchall()
            found[name] = (parts, sorted(_CONSTRAINT.findall(statement)), rows)
        query = "SELECT name, tbl_name FROM sqlite_master WHERE type <> 'table'"
        found["others"] = sorted(base.execute(query).fetchall())
        for index, _ in found["others"]:  # type: ignore[attr-defined]
            found[f"index {index}"] = base.execute(f"PRAGMA index_xinfo('{index}')").fetchall()
    return found


@known
def test_the_tables_are_those_of_the_migrations(tmp_path: Path) -> None:
    migrate(tmp_path / "theirs.db")
    lay_tables(tmp_path / "ours.db")
    assert described(tmp_path / "ours.db") == described(tmp_path / "theirs.db")
    assert f"VALUES('{TRIED}')" in TABLES.read_text()


@known
def test_a_fresh_store_is_made_without_migrations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("migrations ran")

    monkeypatch.setattr(mlflow.store.db.utils, "_initialize_tables", refused)
    for name in ("new.db", "empty.db"):
        (tmp_path / "empty.db").touch()
        made = connect(f"sqlite:///{tmp_path / name}", "birds")
        assert made.known_experiment()
        run = made.client.create_run(made.experiment_id)
        made.client.log_metric(run.info.run_id, "loss", 0.5)
        made.client.create_registered_model("m")
        assert made.client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}


@pytest.mark.parametrize("version", [TRIED, "feedfacecafe"])
def test_mlflow_makes_what_was_not_made_here(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_store, "newest_revision", lambda: version)
    broken = tmp_path / "broken.sql"
    broken.write_text("BEGIN IMMEDIATE;\nCREATE TABLE experiments (one TEXT);\nCREATE nonsense;\n")
    monkeypatch.setattr(new_store, "TABLES", broken)
    lay_tables(tmp_path / "mlflow.db")
    there = tmp_path / "mlflow.db"
    assert not there.exists() or there.stat().st_size == 0
    assert connect(f"sqlite:///{there}", "birds").known_experiment()


@known
def test_a_store_that_is_there_stays(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    connect(f"sqlite:///{database}", "birds")
    before = database.read_bytes()
    lay_tables(database)
    assert database.read_bytes() == before


@known
def test_many_at_once_make_one_store(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    together = threading.Barrier(4)

    def make(work: Callable[[Path], None]) -> None:
        together.wait()
        work(database)

    threads = [threading.Thread(target=make, args=(lay_tables,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lay_tables(tmp_path / "alone.db")
    assert described(database) == described(tmp_path / "alone.db")
    assert open_client(f"sqlite:///{database}").search_experiments()
