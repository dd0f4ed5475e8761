"""Where runs are kept: the typed options of the config group ``tracking``."""

from __future__ import annotations

from dataclasses import dataclass

from hyperspec.utils.errors import ConfigError


@dataclass
class TrackingConfig:
    """Store, experiment and rhythm of logging.

    Raises:
        ConfigError: If a value is empty or outside its range.
    """

    uri: str | None = None
    """MLflow tracking URI: a SQLite file (relative to the folder of the command), or a server. Null
    takes ``MLFLOW_TRACKING_URI`` of the environment, without it ``sqlite:///mlflow.db``."""
    experiment: str | None = None
    """Name of the MLflow experiment that holds the sweeps. Null takes ``MLFLOW_EXPERIMENT_NAME`` or
    ``MLFLOW_EXPERIMENT_ID`` of the environment, without them ``hyperspec``."""
    flush_seconds: float = 2.0
    """Longest time that a metric waits before it is written, seconds, 0 to 600."""
    system_metrics: bool = True
    """Log how busy processor, memory, disk, network and GPU are, about every 10 s of training."""
    log_model: str = "best"
    """Jobs of a sweep whose encoder is kept as an MLflow model that embeds new cubes: `none`,
    `best` or `all`."""

    outbox: str | None = None
    """Folder that keeps what runs have to say until the store has it; null takes
    ``.hyperspec/outbox`` beside a SQLite file, and in the folder of the command for a server."""

    def __post_init__(self) -> None:
        examples = {
            "uri": "a store, for example tracking.uri=sqlite:///mlflow.db or "
            "tracking.uri=http://127.0.0.1:5000",
            "experiment": "a name, for example tracking.experiment=hyperspec",
            "outbox": "a folder, or null for .hyperspec/outbox",
        }
        for name, wanted in examples.items():
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise ConfigError(f"tracking.{name} is empty. Give {wanted}.")
        if self.log_model not in ("none", "best", "all"):
            raise ConfigError(
                f"tracking.log_model is '{self.log_model}'; choose none, best or all."
            )
        if not 0 <= self.flush_seconds <= 600:
            raise ConfigError(
                f"tracking.flush_seconds={self.flush_seconds} is outside 0 to 600 seconds. The "
                "default, 2.0, keeps logging off the training step."
            )
