"""Specimens, words and runs of tests that give `hyperspec train` a command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked import Runs, runs_of

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

# Four specimens per species, 16 pixels, 40 bands: small enough to train on in a second.
# Controls are scored where a test looks at them: they take longer than such a training.
QUICK = ["experiment=demo", "data.size=16", "epochs=2", "hardware.threads=1"]
QUICK += ["evaluation.controls=false", "sweep.report=false"]


@pytest.fixture(scope="session")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "specimens"
    return synthesise(folder, SynthSettings(num_specimens=4, size=16, num_bands=40))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed specimens, shared by all tests as the jobs of a sweep share them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def words(
    specimens: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The words that every command shares; each test has an experiment of its own.

    One store serves all tests: creating its tables takes two seconds.
    """
    monkeypatch.chdir(tmp_path)
    return [
        *QUICK,
        f"data.root={specimens}",
        f"data.cache_dir={cache}",
        f"tracking.uri=sqlite:///{cache / 'mlflow.db'}",
        f"tracking.experiment={tmp_path.name}",
    ]


@pytest.fixture
def runs(cache: Path, tmp_path: Path) -> Runs:
    """Return what lists the runs of the test, oldest first."""
    return lambda: runs_of(f"sqlite:///{cache / 'mlflow.db'}", tmp_path.name)
