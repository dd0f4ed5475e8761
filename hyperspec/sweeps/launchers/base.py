"""What every pool of workers has in common: slots, work, waiting."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from hyperspec.runs.watchdog import LEAVE_SECONDS, watch
from hyperspec.tracking.parent import find_parent


class LostError(Exception):
    """The process of a job ended without a word."""


@dataclass(frozen=True)
class Work:
    """What every job of a sweep shares; travels to the workers."""

    context: HydraContext
    config: DictConfig
    task: TaskFunction
    singletons: Any

    def __call__(self, number: int, overrides: list[str], settings: Mapping[str, str]) -> JobReturn:
        """Run a job, in a worker."""
        os.environ.update(settings)
        setup_globals()
        Singleton.set_state(self.singletons)
        parent = find_parent(Path(str(self.config.hydra.sweep.dir)).absolute())
        if parent is not None:
            watch(parent)
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        try:
            return run_job(
                hydra_context=self.context,
                config=config,
                task_function=self.task,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        except (SystemExit, KeyboardInterrupt) as error:
            # Hydra 1.4 hangs the job's JobReturn on these, which holds the exception again: on its
            # way to the controller it would be pickled within itself until the worker is killed.
            raise type(error)(*error.args) from None


class Pool(Protocol):
    """What a launcher asks of a pool."""

    size: int
    """Jobs at once."""

    def submit(self, work: Work, number: int, overrides: list[str]) -> Any:
        """Start a job; return its handle."""

    def done(self, handle: Any) -> bool:
        """Say whether a job has ended, in whatever way."""

    def result(self, handle: Any) -> JobReturn:
        """Return how a job that has ended went.

        Raises:
            LostError: If its process was killed.
        """

    def stop(self) -> None:
        """End all workers, softly first."""


class Slots:
    """Places of jobs that run at once, each with its share of the machine: CPU threads and GPUs.

    Without a number of GPUs to share out all visible ones are left to all.
    """

    def __init__(self, size: int, threads: int, gpus: int | None) -> None:
        self.size, self.threads, self.gpus = size, threads, gpus
        self._free = list(reversed(range(size)))

    def take(self) -> int:
        """Return a free slot, which is then taken."""
        return self._free.pop()

    def give(self, slot: int) -> None:
        """Give a slot back."""
        self._free.append(slot)

    def settings(self, slot: int) -> dict[str, str]:
        """Return the environment of the jobs in a slot."""
        found = {"OMP_NUM_THREADS": str(self.threads)}
        if self.gpus is not None:
            # Numbers of the GPUs that this process may see, where it may not see all.
            shown = os.environ.get("CUDA_VISIBLE_DEVICES")
            names = shown.split(",") if shown else [str(i) for i in range(self.gpus)]
            found["CUDA_VISIBLE_DEVICES"] = names[slot % min(self.gpus, len(names))]
        return found


def wait_until(over: Any, seconds: float = LEAVE_SECONDS) -> bool:
    """Wait until something is over; return whether it is."""
    deadline = time.monotonic() + seconds
    while not over() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(over())
