"""Fixtures for every room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from root_logger import log_restored

import hyperspec  # noqa: F401 - before any test imports what imports torchvision
from hyperspec.evaluation.evaluators import EVALUATORS
from hyperspec.evaluation.metrics import METRICS

# Sweeps are made by tests of several rooms.
pytest_plugins = ["sweep_fixtures"]

# What the developer's shell says of MLflow is not for tests.
for _name in ("TRACKING_URI", "EXPERIMENT_NAME", "EXPERIMENT_ID"):
    os.environ.pop(f"MLFLOW_{_name}", None)

# Tests are of the CPU, also on a machine with a GPU, but for those that ask for one (-m gpu).
os.environ["HYPERSPEC_DEVICE"] = "cpu"
# Lines about what takes long come where a machine is slow: tests are as if under a sweep's own
# view, and those of the lines take this away.
os.environ.setdefault("HYPERSPEC_SWEEP_VIEW", "1")

# No test fails because other work slows the machine down.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")


# Rooms whose files take long. They go first: a long file that starts last leaves a worker alone.
LONG = ("fuzz", "runs", "sweeps", "search", "cli", "training", "models")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that train or start processes first, and what lies beside the rooms before."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        room = item.path.relative_to(here).parts[0]
        return LONG.index(room) if room in LONG else -1 if room.endswith(".py") else len(LONG)

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    with log_restored():
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real public cubes that may lie beside the checkout."""
    folder = (Path(__file__).resolve().parents[1] / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"the real public cubes are not at {folder}")
    return folder


@pytest.fixture
def evaluator_tables() -> Iterator[None]:
    """Take out of the tables of evaluators and metrics again what a test registers."""
    tables = (EVALUATORS, METRICS)
    before = [dict(table) for table in tables]
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)  # type: ignore[arg-type]
