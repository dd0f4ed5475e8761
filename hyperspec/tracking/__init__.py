"""What goes to MLflow and comes back, under which names; kept on disk while it is away."""

import os

from hyperspec.tracking.config import TrackingConfig

__all__ = ["TrackingConfig"]

# MLflow draws a bar for each small file, in the middle of a sweep's output and of logs.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
