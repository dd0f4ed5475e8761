"""A run is found by the same words in a file, read without MLflow, and on a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_sweeps import FakeSweep

from hyperspec.tracking import run_index
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import TrackingError


@pytest.fixture(params=["file", "server"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "server":  # MLflow's client asks a file as it asks a server
        monkeypatch.setattr(run_index, "database_path", lambda uri: None)


def find(sweep: FakeSweep, word: str) -> str:
    uri = sweep.connection.uri
    index = run_index.read_index(uri, word)
    return run_index.find_run(index, word, uri, sweep.connection.experiment).run_id


def test_a_sweep_is_found_by_each_of_its_words(fake_sweep: FakeSweep, way: None) -> None:
    parent = fake_sweep.parent
    job = fake_sweep.job("uniform", 10)
    older = start_run(fake_sweep.connection, "alone", kind="sweep", tags={"hyperspec.study": "a"})
    for word in (parent.run_id, parent.run_id[:8], parent.name):
        assert find(fake_sweep, word) == parent.run_id
    assert find(fake_sweep, "band_count") == parent.run_id
    assert find(fake_sweep, "latest") == older.run_id
    assert find(fake_sweep, job.run_id) == find(fake_sweep, job.name) == job.run_id
    for run in (parent, older):
        run.finish()


def test_a_deleted_run_is_not_found(fake_sweep: FakeSweep, way: None) -> None:
    fake_sweep.parent.finish()
    fake_sweep.connection.client.delete_run(fake_sweep.parent.run_id)
    with pytest.raises(TrackingError, match=r"answers to 'latest'\. .*newest first: none"):
        find(fake_sweep, "latest")


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_text("no database at all")
    with pytest.raises(TrackingError, match=r"other\.db cannot be read as a store of MLflow's"):
        run_index.read_index(f"sqlite:///{other}", "latest")
