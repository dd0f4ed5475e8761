from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from fake_sweeps import FakeSweep

from hyperspec.tracking.run import start_run
from hyperspec.tracking.store import connect

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
