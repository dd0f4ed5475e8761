"""What Lightning tells a run: metrics of ``self.log``, and how busy the machine is meanwhile.

MLflow samples the machine in a thread that writes to the store by itself: when a tracking server
dies, that thread fails or outlives the run. Here its monitors are read between two steps of the
training, at most every few seconds, and the values take the road of all other metrics.
"""

from __future__ import annotations

import logging
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psutil
import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from hyperspec.tracking.contract import MetricName
from hyperspec.tracking.names import flatten
from hyperspec.tracking.run import JobRun

if TYPE_CHECKING:
    from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0  # as MLflow's own monitor


class RunLogger(Logger):
    """Send Lightning's metrics to a :class:`JobRun` in batches.

    It never ends the run: evaluation follows the fit, and the run's own context closes it.
    """

    def __init__(self, run: JobRun) -> None:
        super().__init__()
        self.run = run

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.run.connection.experiment

    @property
    def version(self) -> str:
        """Identity of the run."""
        return self.run.run_id

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep metrics for the run's next batch."""
        self.run.log_metrics(metrics, step or 0)

    @rank_zero_only
    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Log hyperparameters under their dotted names."""
        self.run.log_params(flatten(vars(params) if isinstance(params, Namespace) else params))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Put what was logged on the disk at the end of a fit, also of a failed one."""
        self.run.secure()


def log_now(trainer: pl.Trainer, metrics: Mapping[str, float]) -> None:
    """Log an epoch's metrics before its checkpoint is written.

    What a module logs at the end of an epoch reaches the run after that checkpoint; a run that goes
    on from it starts with the next epoch, and the point would be missing.
    """
    for logger in trainer.loggers:
        logger.log_metrics(dict(metrics), trainer.global_step - 1)  # as Lightning counts


class SystemMetrics(pl.Callback):
    """Log processor, memory, disk, network and GPU at the start, the end and in between."""

    def __init__(self, run: JobRun, every_seconds: float = EVERY_SECONDS) -> None:
        self.run, self.every_seconds = run, every_seconds
        self.monitors = monitors()
        self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the first sample."""
        self.sample(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **words: Any) -> None:
        """Take a sample when the last one is old enough."""
        if time.monotonic() - self._last >= self.every_seconds:
            self.sample(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the last sample."""
        self.sample(trainer)

    def sample(self, trainer: pl.Trainer) -> None:
        """Log what the monitors say; trouble with one of them costs its values, not the run."""
        self._last = time.monotonic()
        if not trainer.is_global_zero:
            return
        found: dict[str, float] = {}
        for monitor in list(self.monitors):
            try:
                monitor.collect_metrics()
                found |= monitor.aggregate_metrics()
            except (OSError, RuntimeError, ValueError, psutil.Error) as error:
                log.warning("no more system metrics of %s: %s", type(monitor).__name__, error)
                self.monitors.remove(monitor)
            monitor.clear_metrics()
        self.run.log_metrics(
            {MetricName.SYSTEM.of(key): value for key, value in found.items()}, trainer.global_step
        )


def monitors() -> list[BaseMetricsMonitor]:
    """Return MLflow's monitors that work here; the one of GPUs needs ``nvidia-ml-py`` and a GPU."""
    # Late: steps are taken on machines that have no MLflow, too (benchmarks/check_gpu_wheels.py).
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    found = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        found.append(GPUMonitor())
    except (ImportError, RuntimeError) as error:
        log.debug("no system metrics of GPUs: %s", error)
    return found
