"""What MLflow's own variables say where the config says nothing.

The config comes first, then the environment, then the default. ``MLFLOW_TRACKING_USERNAME`` and
``_PASSWORD`` or ``MLFLOW_TRACKING_TOKEN`` are read by MLflow's client itself, and by nothing here.
"""

from __future__ import annotations

import os

from hyperspec.tracking.health import shown

URI, EXPERIMENT, EXPERIMENT_ID = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"),
)
DEFAULT_URI, DEFAULT_EXPERIMENT = "sqlite:///mlflow.db", "hyperspec"


def store_address(given: str | None) -> tuple[str, str]:
    """Return the address of the store, and what gave it: ``tracking.uri`` or the variable."""
    if given is not None:
        return given, "tracking.uri"
    named = os.environ.get(URI)
    return (named, URI) if named else (DEFAULT_URI, "tracking.uri")


def with_password(address: str) -> str:
    """Return an address that was kept without its password with it, if the environment knows it."""
    named = os.environ.get(URI, "")
    return named if shown(named) == shown(address) else address
