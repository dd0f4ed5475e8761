"""What goes to MLflow and comes back, under which names; kept on disk while it is away."""

from hyperspec.tracking.config import TrackingConfig

__all__ = ["TrackingConfig"]
