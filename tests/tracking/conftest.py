from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from hyperspec.tracking.client import Connection, connect
from hyperspec.tracking.health import local_folder

_COUNTER = itertools.count()


@pytest.fixture(scope="session")
def store_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store for all tests here: creating one takes about two seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('tracking')}/mlflow.db"


@pytest.fixture
def connection(store_uri: str) -> Connection:
    """A fresh experiment in the shared store."""
    return connect(store_uri, f"test-{next(_COUNTER)}")


@pytest.fixture
def artifact_text(connection: Connection) -> Callable[[str, str], str]:
    """Read an artifact's text by run and path, past MLflow's client."""

    def read(run_id: str, artifact: str) -> str:
        uri = connection.client.get_run(run_id).info.artifact_uri
        return (local_folder(uri) / artifact).read_text()

    return read
