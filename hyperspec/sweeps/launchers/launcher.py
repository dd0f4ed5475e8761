"""Several jobs at once, in processes of joblib (loky), submitit's local executor or Ray.

Hydra's own launchers give up the whole sweep when one worker dies (joblib), start all jobs at once
(submitit), and leave workers running when the controller is stopped. This one runs a job in a
process of its own, starts a lost job again up to a limit, and stops softly. Jobs go on from their
checkpoints, so that a second start costs little.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hyperspec.sweeps.launchers.pools import LostError, LostJobError, Pool, Work, make_pool
from hyperspec.tracking.parent import IN_SWEEP, find_parent
from hyperspec.utils.cores import usable_cores
from hyperspec.utils.errors import ConfigError, TrackingError

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05


@dataclass
class _Job:
    number: int
    overrides: list[str]
    starts: int = 0
    handle: Any = field(default=None, repr=False)


class HyperspecLauncher(Launcher):
    """Runs the jobs of a sweep in a pool of processes.

    Args:
        pool: ``joblib``, ``submitit_local`` or ``ray``.
        n_jobs: Jobs at once; None takes ``hardware.jobs_per_device`` for each GPU (or the CPU)
            where that is above 1, else as many as there are cores for ``hardware.threads`` each.
        retries: How often a job whose process was killed is started again.
        gpus: GPUs to share out, one for each job at once; None shows all of them to every job.
        options: What the pool itself takes.
    """

    def __init__(
        self,
        pool: str,
        n_jobs: int | None = None,
        retries: int = 2,
        gpus: int | None = None,
        options: DictConfig | None = None,
    ) -> None:
        for name, value in (("n_jobs", n_jobs), ("gpus", gpus)):
            if value is not None and value != -1 and value < 1:
                raise ConfigError(f"hydra.launcher.{name} is {value}; give at least 1, or null.")
        if retries < 0:
            raise ConfigError(f"hydra.launcher.retries is {retries}; give 0 or more.")
        self.kind, self.n_jobs, self.retries, self.gpus = pool, n_jobs, retries, gpus
        self.options: Any = OmegaConf.to_container(options, resolve=True) if options else {}
        self._pool: Pool | None = None
        self._work: Work | None = None
        self._sweep_dir = Path()

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take the composed config; see Hydra's Launcher."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run jobs and return how each ended, in their order."""
        setup_globals()
        config = self._config
        configure_log(
            config.hydra.hydra_logging,
            config.hydra.verbose,
            execution_whitelist=self._context.execution_whitelist,
        )
        self._sweep_dir = Path(str(config.hydra.sweep.dir)).absolute()
        self._sweep_dir.mkdir(parents=True, exist_ok=True)
        if self._pool is None:
            share = (self._at_once(), self._threads(), self._gpus())
            self._pool = make_pool(self.kind, *share, self._sweep_dir, self.options)
        self._work = Work(self._context, config, self._task, Singleton.get_state())
        log.info("%d jobs, %d at once (%s)", len(job_overrides), self._pool.size, self.kind)
        jobs = [_Job(initial_job_idx + i, list(words)) for i, words in enumerate(job_overrides)]
        try:
            return self._run(self._pool, jobs)
        except BaseException:
            log.warning("the sweep ends; its workers leave")
            self._pool.stop()
            self._pool = None
            raise

    def _run(self, pool: Pool, jobs: list[_Job]) -> list[JobReturn]:
        waiting, running = deque(self._order(jobs)), list[_Job]()
        ended: dict[int, JobReturn] = {}
        while waiting or running:
            while waiting and len(running) < pool.size:
                running.append(self._start(pool, waiting.popleft()))
            for job in [job for job in running if pool.done(job.handle)]:
                running.remove(job)
                outcome = self._outcome(pool, job)
                if outcome is None:
                    waiting.appendleft(job)
                else:
                    ended[job.number] = outcome
            time.sleep(_POLL_SECONDS)
        return [ended[job.number] for job in jobs]

    def _order(self, jobs: list[_Job]) -> list[_Job]:
        """Return the jobs as they are started: one who joins begins elsewhere than the first."""
        if OmegaConf.select(self._config, "sweep.when_busy") != "join":
            return jobs
        return random.sample(jobs, len(jobs))  # an order of its own in every process

    def _start(self, pool: Pool, job: _Job) -> _Job:
        assert self._work is not None
        again = f" (start {job.starts + 1})" if job.starts else ""
        log.info("\t#%d : %s%s", job.number, " ".join(filter_overrides(job.overrides)), again)
        job.starts += 1
        job.handle = pool.submit(self._work, job.number, job.overrides)
        return job

    def _outcome(self, pool: Pool, job: _Job) -> JobReturn | None:
        """Return how a job ended, or None when it is to be started again."""
        try:
            return pool.result(job.handle)
        except LostError as error:
            again = job.starts <= self.retries
            log.warning("#%d lost its process (%s)%s", job.number, error, "; again" * again)
            if again:
                return None  # the next start closes the run of this one
            self._close_lost()
            lost: BaseException = LostJobError(
                f"The process of job {job.number} ({' '.join(filter_overrides(job.overrides))}) "
                f"was killed {job.starts} times ({error}). The system's log says who did it, "
                "often for lack of memory: run fewer jobs at once with hydra.launcher.n_jobs."
            )
        except (SystemExit, KeyboardInterrupt) as error:
            # Hydra keeps what a job raises in its JobReturn, except for these.
            lost = LostJobError(
                f"Job {job.number} ({' '.join(filter_overrides(job.overrides))}) was interrupted "
                f"({type(error).__name__})."
            )
        except Exception as error:
            log.exception("#%d did not reach the job itself", job.number)
            lost = error
        lost.add_note(IN_SWEEP)
        made = JobReturn(overrides=job.overrides, status=JobStatus.FAILED)
        made.return_value = lost
        return made

    def _close_lost(self) -> None:
        """Close the runs of processes that are gone."""
        from hyperspec.tracking.cleanup import close_stale
        from hyperspec.tracking.client import connect

        parent = find_parent(self._sweep_dir)
        if parent is None:
            return
        try:
            close_stale(connect(parent.tracking_uri, parent.experiment))
        except TrackingError:
            log.exception("the lost run stays open until the next sweep starts")

    def _threads(self) -> int:
        given = OmegaConf.select(self._config, "hardware.threads")
        return int(given) if given else max(1, usable_cores() // self._at_once())

    def _gpus(self) -> int | None:
        """Return the GPUs to share out; jobs that share devices are spread over all there are."""
        on_cpu = OmegaConf.select(self._config, "hardware.accelerator") == "cpu"
        if self.gpus is not None or on_cpu or jobs_per_device(self._config) == 1:
            return self.gpus
        return _count_gpus() or None

    def _at_once(self) -> int:
        if self.n_jobs is not None and self.n_jobs > 0:
            return self.n_jobs
        if (sharing := jobs_per_device(self._config)) > 1:
            return sharing * (self._gpus() or 1)
        threads = OmegaConf.select(self._config, "hardware.threads") or 1
        return self.gpus or max(1, usable_cores() // int(threads))


def jobs_per_device(config: DictConfig) -> int:
    """Return how many jobs share a device by the config."""
    return int(OmegaConf.select(config, "hardware.jobs_per_device") or 1)


def check_launcher(config: DictConfig) -> None:
    """Refuse a launcher that cannot do what is asked; see also :mod:`.slurm`.

    Raises:
        ConfigError: If jobs are to share a device and are not started side by side here, or go to
            SLURM and cannot be submitted.
    """
    target = str(OmegaConf.select(config, "hydra.launcher._target_") or "")
    if target.endswith("SlurmLauncher"):
        from hyperspec.sweeps.launchers.slurm import prepare_slurm

        prepare_slurm(config)
    if (sharing := jobs_per_device(config)) > 1 and not target.endswith("HyperspecLauncher"):
        raise ConfigError(
            f"hardware.jobs_per_device is {sharing}, but hydra.launcher is {target or 'unknown'}, "
            "which does not run jobs side by side here. Add hydra/launcher=joblib, or leave "
            "hardware.jobs_per_device at 1."
        )


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()
