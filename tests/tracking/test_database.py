"""A database that is not MLflow's of this version is refused in a sentence and left as it is."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
from alembic.script import ScriptDirectory

from hyperspec.search.storage import open_storage
from hyperspec.tracking.client import connect, open_client
from hyperspec.tracking.database import _revisions, check_runs_database
from hyperspec.utils.errors import TrackingError

_OLDER = "451aebb31d03"  # of MLflow 1.0


@pytest.fixture
def database(store_uri: str, tmp_path: Path) -> Path:
    """A store of this MLflow."""
    connect(store_uri, "any")
    found = tmp_path / "mlflow.db"
    shutil.copy(store_uri.removeprefix("sqlite:///"), found)
    return found


def _write(database: Path, *commands: str) -> None:
    with closing(sqlite3.connect(database)) as base, base:
        for command in commands:
            base.execute(command)


def _refused(database: Path, text: str) -> None:
    before = database.read_bytes()
    for _ in range(2):  # what was refused is looked at again
        with pytest.raises(TrackingError, match=text):
            connect(f"sqlite:///{database}", "e")
    assert database.read_bytes() == before
    assert {path.name for path in database.parent.iterdir()} <= {
        database.name,
        f".{database.name}.lock",
    }


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("no database, " * 100)
    _refused(tmp_path / "x.db", r"tracking\.uri=sqlite:.*x\.db is no database \(file is not a")


def test_the_database_of_another_program(tmp_path: Path) -> None:
    _write(tmp_path / "x.db", "CREATE TABLE birds (name TEXT)")
    _refused(tmp_path / "x.db", r"something else \(its tables: birds\). A new one is begun by")


def test_the_database_of_a_study(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    optuna.storages.RDBStorage(f"sqlite:///{path}").engine.dispose()
    _refused(path, r"holds a study of Optuna.*hydra\.sweeper\.storage=sqlite:///study\.db")


def test_a_newer_version(database: Path) -> None:
    _write(database, "UPDATE alembic_version SET version_num = 'feedfacecafe'")
    _refused(database, "was written by a newer MLflow: MLflow .* its version feedfacecafe")


def test_an_older_version(database: Path) -> None:
    _write(database, f"UPDATE alembic_version SET version_num = '{_OLDER}'", "DROP TABLE inputs")
    _refused(database, rf"by an older MLflow \(version {_OLDER}.*`mlflow db upgrade sqlite:")


def test_a_creation_that_was_interrupted_goes_on(database: Path) -> None:
    _write(
        database,
        f"UPDATE alembic_version SET version_num = '{_OLDER}'",
        "DELETE FROM experiment_tags",
        "DELETE FROM experiments",
    )
    check_runs_database(f"sqlite:///{database}")


def test_a_study_does_not_go_into_a_store_of_runs(database: Path, tmp_path: Path) -> None:
    before = database.read_bytes()
    with pytest.raises(TrackingError, match=r"storage=sqlite:.* is a tracking store of MLflow"):
        open_storage(f"sqlite:///{database}", fresh=True)
    assert database.read_bytes() == before
    _write(tmp_path / "x.db", "CREATE TABLE birds (name TEXT)")
    with pytest.raises(TrackingError, match=r"is the database of something else \(its tables: b"):
        open_storage(f"sqlite:///{tmp_path}/x.db", fresh=True)
    open_client(f"sqlite:///{database}").search_experiments()


def test_versions_of_tables_are_those_that_alembic_finds() -> None:
    spec = find_spec("mlflow.store.db_migrations")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    scripts = ScriptDirectory(next(iter(spec.submodule_search_locations)))
    known = frozenset(one.revision for one in scripts.walk_revisions())
    assert _revisions()[0] == known
    assert _revisions()[1] == scripts.get_current_head()
