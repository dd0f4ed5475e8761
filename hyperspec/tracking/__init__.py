"""What goes to MLflow, and under which names."""

from hyperspec.tracking.config import TrackingConfig

__all__ = ["TrackingConfig"]
