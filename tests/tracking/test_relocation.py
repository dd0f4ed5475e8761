"""A store that moved or was copied: what is read is found, and nothing goes to the old place."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hyperspec.cli.main import main
from hyperspec.report.load import load_sweep
from hyperspec.tracking.client import Connection, connect, open_client
from hyperspec.tracking.health import local_folder
from hyperspec.tracking.offline.journal import Head, Journal, new_local_id, pending
from hyperspec.tracking.parent import NOTE, ParentInfo, find_parent, write_parent
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import TrackingError


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that has a sweep of one job, its files and a model."""
    folder = tmp_path_factory.mktemp("template")
    connection = connect("sqlite:///mlflow.db", "e", folder)
    parent = start_run(connection, "band_count 1", kind="sweep")
    job = start_run(connection, "job", parent_run_id=parent.run_id)
    table = "file,specimen,label,knn,knn_correct\na.bil,a,x,x,1\n"
    job.log_text(table, "evaluation/test_predictions.csv")
    job.finish()
    client = connection.client
    model = client.create_logged_model(connection.experiment_id, "encoder", job.run_id)
    (folder / "MLmodel").write_text("x")
    client.log_model_artifact(model.model_id, str(folder / "MLmodel"))
    write_parent(folder / "multirun/x", _note(connection, parent.run_id))
    parent.finish()
    return folder


def _note(connection: Connection, run_id: str) -> ParentInfo:
    outbox = str(connection.outbox)
    return ParentInfo(run_id, connection.uri, "e", "band_count", "n", outbox=outbox)


@pytest.fixture
def old(template: Path, tmp_path: Path) -> Path:
    """A store of the test's own, which knows that it lies there."""
    folder = tmp_path / "a b#" / "old"
    shutil.copytree(template, folder)
    open_client(f"sqlite:///{folder}/mlflow.db")
    write_parent(folder / "multirun/x", _note(connect("sqlite:///mlflow.db", "e", folder), "?"))
    return folder


def _state(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _sweep(folder: Path) -> tuple[Path, bool]:
    data = load_sweep(f"sqlite:///{folder}/mlflow.db", ["latest"])
    (job,) = data.jobs.itertuples()
    place = local_folder(str(job.artifact_uri))
    assert place is not None
    return place, data.predictions(str(job.run_id)) is not None


def test_a_store_that_moved_is_read_and_written_where_it_is(
    old: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = old.parent.parent / "100% new"
    old.rename(new)
    place, predictions = _sweep(new)
    assert predictions
    assert place.is_relative_to(new)
    (said,) = [r.getMessage() for r in caplog.records if "moved or copied" in r.getMessage()]
    assert "artifacts of its 2 runs" in said
    caplog.clear()
    connection = connect("sqlite:///mlflow.db", "e", new)
    run = start_run(connection, "later")
    run.log_text("x", "x.txt")
    run.finish()
    assert [path.parent.parent.name for path in new.rglob("x.txt")] == [run.run_id]
    (model,) = connection.client.search_logged_models([connection.experiment_id])
    assert (local_folder(model.artifact_location) / "MLmodel").is_relative_to(new)
    assert (local_folder(model.artifact_location) / "MLmodel").read_text() == "x"
    assert not old.exists()
    assert not caplog.records


def test_a_copy_leaves_the_original_alone(old: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = _state(old)
    new = old.parent / "copy"
    shutil.copytree(old, new)
    place, predictions = _sweep(new)
    assert predictions
    assert place.is_relative_to(new)
    connection = connect("sqlite:///mlflow.db", "e", new)
    run = start_run(connection, "later")
    run.log_text("x", "x.txt")
    run.finish()
    assert _state(old) == before
    assert _sweep(old)[0].is_relative_to(old)


@pytest.mark.parametrize("name", ["elsewhere/mlflow.db", "old/copy.db"])
def test_a_copy_of_the_file_alone_says_how_to_have_its_artifacts(
    old: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = old.parent / name
    database.parent.mkdir(exist_ok=True)
    shutil.copy(old / "mlflow.db", database)
    before = _state(old)
    uri = f"sqlite:///{database}"
    connection = connect(uri, "e")
    said = caplog.text
    assert "Those of 2 runs and models are not here" in said  # the parent has no files
    run = start_run(connection, "later")
    run.log_text("x", "x.txt")
    run.finish()
    (written,) = database.parent.rglob("x.txt")
    assert written.is_relative_to(database.with_name(f"{database.stem}_artifacts"))
    assert {k: v for k, v in _state(old).items() if k in before and "copy" not in k} == {
        k: v for k, v in before.items() if "copy" not in k
    }
    caplog.clear()
    load_sweep(uri, ["latest"])
    assert "the artifacts of 1 of 1 finished jobs are not there" in caplog.text
    command = said.partition("To have them: ")[2].splitlines()[0]
    subprocess.run(command, shell=True, check=True)
    data = load_sweep(uri, ["latest"])
    assert data.predictions(str(data.jobs.run_id[0])) is not None


def test_a_store_that_is_reached_by_a_link_has_not_moved(old: Path) -> None:
    before = (old / "mlflow.db").read_bytes()
    link = old.parent / "link"
    link.symlink_to(old)
    open_client(f"sqlite:///{link}/mlflow.db")
    assert (old / "mlflow.db").read_bytes() == before


def test_addresses_of_others_stay(old: Path) -> None:
    client = open_client(f"sqlite:///{old}/mlflow.db")
    foreign = f"file://{old.parent}/lab_artifacts/1"
    made = client.create_experiment("theirs", artifact_location=foreign)
    new = old.with_name("new")
    old.rename(new)
    client = open_client(f"sqlite:///{new}/mlflow.db")
    assert client.get_experiment(made).artifact_location == foreign
    ours = client.get_experiment_by_name("e").artifact_location
    assert local_folder(ours) == new / "mlflow_artifacts/e"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_moved_store_that_cannot_be_written_is_told(old: Path) -> None:
    new = old.with_name("new")
    old.rename(new)
    (new / "mlflow.db").chmod(0o444)
    with pytest.raises(TrackingError, match="Make the file writable"):
        open_client(f"sqlite:///{new}/mlflow.db")


def test_an_outbox_goes_with_its_store(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outbox = old / ".hyperspec/outbox"
    head = Head(new_local_id(), f"sqlite:///{old}/mlflow.db", "e", "waits", 1, {})
    journal = Journal.create(outbox, head)
    journal.append({"op": "end", "status": "FINISHED", "time_ms": 2})
    journal.close()
    new = old.with_name("new")
    old.rename(new)
    assert main(["sync", str(new)]) == 0
    assert "1 runs sent, 0 left" in capsys.readouterr().out
    assert "waits" in [run.name for run in connect("sqlite:///mlflow.db", "e", new).search()]
    assert not old.exists()


def test_nothing_is_sent_to_a_file_that_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = Head(new_local_id(), f"sqlite:///{tmp_path}/gone/mlflow.db", "e", "waits", 1, {})
    Journal.create(tmp_path / "outbox", head).close()
    assert main(["sync", str(tmp_path / "outbox")]) == 1
    assert "There is no tracking store at" in capsys.readouterr().out
    assert not (tmp_path / "gone").exists()
    assert len(pending(tmp_path / "outbox")) == 1


@pytest.mark.parametrize("how", ["moved", "copied", "moved, noted by 0.1.0"])
def test_the_note_of_a_sweep_finds_its_store(old: Path, how: str) -> None:
    new = old.with_name("new")
    old.rename(new) if how.startswith("moved") else shutil.copytree(old, new)
    if how.endswith("0.1.0"):
        path = new / "multirun/x" / NOTE
        path.write_text(json.dumps({**json.loads(path.read_text()), "store": ""}))
    found = find_parent(new / "multirun/x")
    assert found is not None
    assert found.tracking_uri == f"sqlite:///{new}/mlflow.db"
    assert found.outbox == str(new / ".hyperspec/outbox")


def test_readers_begin_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for words in (["report", "latest"], ["report", "latest", "--uri", "sub/x.db"], ["ui"]):
        assert main(words) == 2
        assert "There is no tracking store at" in capsys.readouterr().err
    assert main(["sync"]) == 2
    assert list(tmp_path.iterdir()) == []
