"""The same as in train_fixtures for runs that choose their bands by training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

Runs = Callable[[], list[Run]]


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learning") / "specimens"
    return synthesise(folder, SynthSettings(num_specimens=4, size=16, num_bands=24))


@pytest.fixture
def words(specimens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield [
        *("experiment=demo", "data.size=16", "epochs=6", "hardware.threads=1"),
        *("bands=learned", "bands.n=4", "batch_size=16"),
        f"data.root={specimens}",
        f"data.cache_dir={specimens.parent / 'cache'}",
        f"tracking.uri=sqlite:///{specimens.parent / 'mlflow.db'}",
        f"tracking.experiment={tmp_path.name}",
    ]
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers = handlers


@pytest.fixture
def runs(specimens: Path, tmp_path: Path) -> Runs:
    def found() -> list[Run]:
        client = MlflowClient(f"sqlite:///{specimens.parent / 'mlflow.db'}")
        experiment = client.get_experiment_by_name(tmp_path.name)
        if experiment is None:
            return []
        order = ["attributes.start_time ASC"]
        return list(client.search_runs([experiment.experiment_id], order_by=order))

    return found


def artifact(run: Run, name: str) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://")) / name
