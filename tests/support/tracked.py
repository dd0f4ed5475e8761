"""What tests that run commands share: the log as it was, the runs of an experiment, artifacts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from hyperspec.tracking.health import local_folder

Runs = Callable[[], list[Run]]


def runs_of(store: str, experiment: str) -> list[Run]:
    """Return the runs of an experiment, oldest first; none where it does not exist."""
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    order = ["attributes.start_time ASC"]
    return list(client.search_runs([found.experiment_id], order_by=order))


def artifact(run: Run, name: str) -> Path:
    return local_folder(run.info.artifact_uri) / name
