"""A store, specimens and a study for tests of sweeps, search, runs and report."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_sweeps import FakeSweep
from sweep_study import Study

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.tracking.client import connect
from hyperspec.tracking.run import start_run

_COUNTER = itertools.count()


@pytest.fixture(scope="session")
def sweep_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store for all tests here: creating one takes about two seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('sweeps')}/mlflow.db"


@pytest.fixture
def fake_sweep(sweep_uri: str, tmp_path: Path) -> FakeSweep:
    """An open parent run in a fresh experiment of the shared store."""
    number = next(_COUNTER)
    connection = connect(sweep_uri, f"fake-{number}")
    parent = start_run(
        connection,
        f"band_count {number}",
        kind="sweep",
        tags={
            "hyperspec.study": "band_count",
            "hyperspec.command": "hyperspec train -m 'bands.n=10,50' data.root=<specimens>",
        },
    )
    return FakeSweep(connection, parent, tmp_path)


@pytest.fixture(scope="session")
def small_specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep_data") / "specimens"
    return synthesise(folder, SynthSettings(num_specimens=4, size=16, num_bands=40))


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep_cache")


@pytest.fixture
def study(
    sweep_uri: str,
    small_specimens: Path,
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Study]:
    """What trains in a second; each test has an experiment of its own."""
    monkeypatch.chdir(tmp_path)
    words = ["experiment=demo", "data.size=16", "epochs=2", "warmup_steps=1"]
    words += ["hardware.threads=1", "evaluation.controls=false", "sweep.report=false"]
    words += [f"data.root={small_specimens}"]
    words += [f"data.cache_dir={packed}", f"tracking.uri={sweep_uri}"]
    study = Study([*words, f"tracking.experiment={tmp_path.name}"], tmp_path, sweep_uri)
    yield study
    # What a failed test leaves behind must not fail the next, which shares the cache.
    study.kill()
    shutil.rmtree(packed / "interrupted", ignore_errors=True)
