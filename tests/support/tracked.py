"""What tests that run commands share: the log as it was, the runs of an experiment, artifacts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

Runs = Callable[[], list[Run]]


@contextmanager
def log_restored() -> Iterator[None]:
    """Hydra configures the root logger of the process; the next test gets it as it was."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers = handlers


def runs_of(store: str, experiment: str) -> list[Run]:
    """Return the runs of an experiment, oldest first; none where it does not exist."""
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    order = ["attributes.start_time ASC"]
    return list(client.search_runs([found.experiment_id], order_by=order))


def artifact(run: Run, name: str) -> Path:
    return Path(run.info.artifact_uri.removeprefix("file://")) / name
