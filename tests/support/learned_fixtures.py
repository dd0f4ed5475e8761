"""The same as in train_fixtures for runs that choose their bands by training."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked import Runs, runs_of

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learning") / "specimens"
    return synthesise(folder, SynthSettings(num_specimens=4, size=16, num_bands=24))


@pytest.fixture
def words(specimens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [
        *("experiment=demo", "data.size=16", "epochs=6", "hardware.threads=1"),
        *("bands=learned", "bands.n=4", "batch_size=16", "evaluation.controls=false"),
        f"data.root={specimens}",
        f"data.cache_dir={specimens.parent / 'cache'}",
        f"tracking.uri=sqlite:///{specimens.parent / 'mlflow.db'}",
        f"tracking.experiment={tmp_path.name}",
    ]


@pytest.fixture
def runs(specimens: Path, tmp_path: Path) -> Runs:
    return lambda: runs_of(f"sqlite:///{specimens.parent / 'mlflow.db'}", tmp_path.name)
