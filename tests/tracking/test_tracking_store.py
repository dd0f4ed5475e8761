from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from filelock import FileLock

from hyperspec.search.storage import absolute_storage
from hyperspec.tracking import TrackingConfig
from hyperspec.tracking import client as store
from hyperspec.tracking.client import artifact_root, connect, open_client, resolve_uri
from hyperspec.tracking.health import database_path, local_folder, sqlite_address
from hyperspec.utils.errors import ConfigError, TrackingError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sqlite:///mlflow.db", "sqlite:////base/mlflow.db"),
        ("sqlite:///runs/../mlflow.db", "sqlite:////base/mlflow.db"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("runs/mlflow.db", "sqlite:////base/runs/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
        ("postgresql+psycopg://u:p@host/db", "postgresql+psycopg://u:p@host/db"),
    ],
)
def test_addresses_become_absolute(given: str, expected: str) -> None:
    assert resolve_uri(given, Path("/base")) == expected


def test_a_relative_address_starts_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_uri("sqlite:///a.db") == f"sqlite:///{tmp_path}/a.db"


@pytest.mark.parametrize(
    "given", ["file:///tmp/mlruns", "mlruns", "sqlite://", "sqlite:///:memory:"]
)
def test_addresses_that_cannot_hold_runs_are_refused(given: str) -> None:
    with pytest.raises(TrackingError) as caught:
        resolve_uri(given)
    assert str(caught.value).startswith(f"tracking.uri={given} cannot hold runs")
    assert "tracking.uri=sqlite:///mlflow.db" in str(caught.value)


def test_artifacts_lie_beside_the_database() -> None:
    assert database_path("sqlite:////data/mlflow.db") == Path("/data/mlflow.db")
    assert artifact_root("sqlite:////data/mlflow.db") == Path("/data/mlflow_artifacts")
    assert artifact_root("http://host:5000") is None


def test_connecting_twice_gives_one_experiment(store_uri: str, tmp_path: Path) -> None:
    first, second = connect(store_uri, "band study/1"), connect(store_uri, "band study/1")
    assert first.experiment_id == second.experiment_id
    location = first.client.get_experiment(first.experiment_id).artifact_location
    assert location == f"{artifact_root(store_uri).as_uri()}/band-study-1"


def test_a_deleted_experiment_is_named_with_the_way_back(store_uri: str) -> None:
    made = connect(store_uri, "gone")
    made.client.delete_experiment(made.experiment_id)
    with pytest.raises(TrackingError, match=f"restore --experiment-id {made.experiment_id}"):
        connect(store_uri, "gone")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    uri = f"sqlite:///{tmp_path}/file/mlflow.db"
    with pytest.raises(TrackingError, match="cannot be made"):
        open_client(uri, create=True)


@pytest.mark.slow
def test_four_processes_create_one_fresh_store_without_a_race(tmp_path: Path) -> None:
    program = (
        "import sys; from hyperspec.tracking.client import connect; "
        "print(connect(sys.argv[1], 'race').experiment_id)"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/fresh.db"]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = [worker.communicate(timeout=600) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, answers
    assert len({out.strip() for out, _ in answers}) == 1
    experiments = open_client(f"sqlite:///{tmp_path}/fresh.db").search_experiments()
    assert sorted(e.name for e in experiments) == ["Default", "race"]


def test_a_lock_that_is_kept_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_LOCK_SECONDS", 0.2)
    place = tmp_path / ".fresh.db.lock"
    with FileLock(place), pytest.raises(TrackingError) as caught:
        connect(f"sqlite:///{tmp_path}/fresh.db", "band_count")
    text = str(caught.value)
    assert text.startswith(f"tracking.uri=sqlite:///{tmp_path}/fresh.db: another process has been")
    assert f"({place} is locked)" in text
    assert not (tmp_path / "fresh.db").exists()


def test_a_known_experiment_is_opened_while_another_is_created(
    store_uri: str, tmp_path: Path
) -> None:
    first = connect(store_uri, "seen")
    database = database_path(store_uri)
    assert database is not None
    with FileLock(database.with_name(f".{database.name}.lock")):
        assert connect(store_uri, "seen").experiment_id == first.experiment_id


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"uri": " "}, "tracking.uri is empty"),
        ({"experiment": ""}, "tracking.experiment is empty"),
        ({"flush_seconds": -1.0}, "tracking.flush_seconds=-1.0 is outside 0 to 600 seconds"),
    ],
)
def test_config_refuses_values_outside_their_range(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        TrackingConfig(**values)


@pytest.mark.parametrize("name", ["a%20b", "a?b", "100%", "a b", "ü#;&=", "a%2Fb"])
def test_a_database_lies_in_its_folder_whatever_that_is_called(name: str, tmp_path: Path) -> None:
    """SQLAlchemy reads %20 as a space and ? as the begin of options: elsewhere, without a word."""
    folder = tmp_path / name / "sub"
    folder.mkdir(parents=True)
    address = resolve_uri("sqlite:///m.db", folder)
    assert database_path(address) == folder / "m.db"
    assert resolve_uri(address) == address  # what is printed can be given again
    sqlalchemy.create_engine(address).connect().close()
    assert (folder / "m.db").is_file()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert absolute_storage(None, folder, folder) == sqlite_address(folder / "optuna.db")
    assert absolute_storage("sqlite:///s.db", folder, folder) == sqlite_address(folder / "s.db")


def test_mlflow_makes_no_folder_beside(tmp_path: Path) -> None:
    folder = tmp_path / "a%20b?"
    folder.mkdir()
    connection = connect("sqlite:///mlflow.db", "e", folder)
    run = connection.client.create_run(connection.known_experiment())
    connection.client.log_text(run.info.run_id, "x", "x.txt")
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "mlflow.db").is_file()
    assert list(folder.rglob("x.txt"))


def test_what_is_typed_is_an_address_unless_the_folder_has_that_name(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    typed = f"sqlite:///{tmp_path}/a%20b/m.db"
    assert database_path(resolve_uri(typed)) == tmp_path / "a b/m.db"
    (tmp_path / "a b").rename(tmp_path / "a%20b")
    assert database_path(resolve_uri(typed)) == tmp_path / "a%20b/m.db"
    assert database_path(resolve_uri(f"{tmp_path}/a%20b/m.db")) == tmp_path / "a%20b/m.db"
    with pytest.raises(TrackingError, match=r"m.db\?timeout=5: options behind a \? are not read"):
        resolve_uri(f"sqlite:///{tmp_path}/m.db?timeout=5")


def test_artifacts_lie_in_a_folder_also_on_a_drive_of_windows() -> None:
    assert local_folder(r"C:\runs\1") == Path(r"C:\runs\1")
    assert local_folder("file:///home/a%20b") == Path("/home/a b")
    assert local_folder("s3://bucket/runs") is None
