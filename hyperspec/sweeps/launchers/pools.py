"""Where the jobs of a sweep run: pools of processes with one way to submit, look and stop."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from hyperspec.runs.watchdog import LEAVE_SECONDS, leave_all, watch
from hyperspec.tracking.parent import find_parent
from hyperspec.utils.errors import ConfigError, HyperspecError

log = logging.getLogger(__name__)


class LostError(Exception):
    """The process of a job ended without a word."""


class LostJobError(HyperspecError):
    """The process of a job is lost, and the job was not, or not well, started again."""


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


def make_pool(
    kind: str, size: int, threads: int, gpus: int | None, folder: Path, options: Mapping[str, Any]
) -> Pool:
    """Return a pool of the kind ``joblib``, ``submitit_local`` or ``ray`` for a sweep's folder.

    See :class:`Slots` for its size, threads and GPUs; ``options`` are what the pool itself takes.

    Raises:
        ConfigError: If the kind is unknown, its package is missing or an option is unknown.
    """
    slots = Slots(size, threads, gpus)
    try:
        if kind == "joblib":
            return LokyPool(slots, **options)
        if kind == "submitit_local":
            if os.name == "nt":
                raise ConfigError(
                    "hydra/launcher=submitit_local needs signals between processes, which Windows "
                    "does not have. Take hydra/launcher=joblib."
                )
            return SubmititPool(slots, folder, **options)
        if kind == "ray":
            return RayPool(slots, **options)
    except ModuleNotFoundError as error:
        extra = {"submitit_local": "slurm"}.get(kind, kind)
        raise ConfigError(
            f"hydra/launcher={kind} needs the package {error.name}, which is not installed. "
            f"Install it with: pip install 'hyperspec-sweeps[{extra}]'."
        ) from error
    except TypeError as error:
        raise ConfigError(f"hydra.launcher.options does not fit {kind}: {error}.") from error
    raise ConfigError(f"hydra.launcher.pool is {kind}; choose joblib, submitit_local or ray.")


class LokyPool:
    """Processes of joblib's loky, one executor each: a worker that dies takes no other with it."""

    def __init__(self, slots: Slots) -> None:
        self.slots, self.size = slots, slots.size
        self._executors: dict[int, Any] = {}
        self._running: dict[Any, int] = {}
        # Executors that the interpreter's end finds open print a traceback of loky's own.
        weakref.finalize(self, _shut_down, self._executors)

    def submit(self, work: Work, number: int, overrides: list[str]) -> Any:
        """Start a job in a process that has run one before, or in a new one."""
        from joblib.externals.loky import ProcessPoolExecutor

        slot = self.slots.take()
        if slot not in self._executors:
            self._executors[slot] = ProcessPoolExecutor(1, env=self.slots.settings(slot))
        future = self._executors[slot].submit(work, number, overrides, {})
        self._running[future] = slot
        return future

    def done(self, handle: Any) -> bool:
        """See Pool."""
        return bool(handle.done())

    def result(self, handle: Any) -> JobReturn:
        """See Pool."""
        from concurrent.futures.process import BrokenProcessPool

        slot = self._running.pop(handle)
        self.slots.give(slot)
        try:
            found: JobReturn = handle.result()
        except BrokenProcessPool as error:
            self._executors.pop(slot).shutdown(wait=False, kill_workers=True)
            text = " ".join(str(error).split())
            _, _, codes = text.partition("exit codes of the workers are ")
            raise LostError(f"exit code {codes or text}") from error
        return found

    def stop(self) -> None:
        """See Pool."""
        pids = [pid for executor in self._executors.values() for pid in executor._processes]
        leave_all(_living(pids), over=lambda: all(f.done() for f in self._running))
        _shut_down(self._executors)
        self._running = {}


def _shut_down(executors: dict[int, Any]) -> None:
    for executor in executors.values():
        executor.shutdown(wait=False, kill_workers=True)
    executors.clear()


class SubmititPool:
    """Processes of submitit's local executor: the code path of SLURM, without a cluster.

    Logs and results go to ``.submitit`` in the sweep's folder. A job is interrupted and started
    again after ``timeout_min`` minutes.
    """

    def __init__(self, slots: Slots, folder: Path, timeout_min: float = 60 * 24 * 7) -> None:
        import submitit

        self.slots, self.size = slots, slots.size
        self._executor = submitit.LocalExecutor(folder / ".submitit" / "%j")
        self._executor.update_parameters(timeout_min=timeout_min)
        self._running: dict[Any, int] = {}

    def submit(self, work: Work, number: int, overrides: list[str]) -> Any:
        """Start a job in a new process."""
        slot = self.slots.take()
        settings = self.slots.settings(slot)
        if self.slots.gpus is None:
            # submitit hides all GPUs from a job that asks for none.
            settings |= _visible_gpus()
        with _environment(settings), _deaf():
            handle = self._executor.submit(work, number, overrides, settings)
        self._running[handle] = slot
        return handle

    def done(self, handle: Any) -> bool:
        """See Pool."""
        return bool(handle.done())

    def result(self, handle: Any) -> JobReturn:
        """See Pool."""
        self.slots.give(self._running.pop(handle))
        if not handle.paths.result_pickle.exists():
            raise LostError(f"its log is {handle.paths.stderr}")
        found: JobReturn = handle.result()
        return found

    def stop(self) -> None:
        """See Pool."""
        tasks = []
        for handle in self._running:
            with contextlib.suppress(psutil.Error):
                tasks += psutil.Process(int(handle.job_id)).children()
        leave_all(tasks, over=lambda: all(handle.done() for handle in self._running))
        leave_all(_living([int(handle.job_id) for handle in self._running]), seconds=0)
        self._running = {}


def _visible_gpus() -> dict[str, str]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return {"CUDA_VISIBLE_DEVICES": given}
    found = sorted(path.name[6:] for path in Path("/dev").glob("nvidia[0-9]*"))
    return {"CUDA_VISIBLE_DEVICES": ",".join(found)}


def _living(pids: Sequence[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ[key] for key in settings if key in os.environ}
    os.environ.update(settings)
    try:
        yield
    finally:
        for key in settings:
            os.environ.pop(key, None)
        os.environ.update(before)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that ignore SIGINT; a job listens to it again.

    submitit's helper process answers Ctrl-C by killing its job after a second, too early for a
    checkpoint.
    """
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class RayPool:
    """Tasks of Ray; ``init`` and ``remote`` are arguments of ``ray.init`` and ``ray.remote``.

    An ``address`` in ``init`` joins a cluster that runs.
    """

    def __init__(
        self,
        slots: Slots,
        init: Mapping[str, Any] | None = None,
        remote: Mapping[str, Any] | None = None,
    ) -> None:
        started = dict(init or {})
        address = started.get("address") or os.environ.get("RAY_ADDRESS")
        joins = address not in (None, "local")
        for name, value in _ray_environment(joins).items():
            os.environ.setdefault(name, value)
        import ray

        self._ray: Any = ray
        self.slots, self.size = slots, slots.size
        if not ray.is_initialized():
            if not joins:
                started.setdefault("num_cpus", slots.size * slots.threads)
                started.setdefault("include_dashboard", False)
            ray.init(**started)
        share = {"num_cpus": slots.threads, **(remote or {})}
        # The launcher itself starts lost jobs again, so often and no more: Ray would start those
        # that its memory monitor killed without end.
        self._remote: Any = ray.remote(**share, max_retries=0)(_run)
        self._running: dict[Any, int] = {}

    def submit(self, work: Work, number: int, overrides: list[str]) -> Any:
        """Hand a job to Ray."""
        slot = self.slots.take()
        handle = self._remote.remote(work, number, overrides, self.slots.settings(slot))
        self._running[handle] = slot
        return handle

    def done(self, handle: Any) -> bool:
        """See Pool."""
        ready, _ = self._ray.wait([handle], timeout=0)
        return bool(ready)

    def result(self, handle: Any) -> JobReturn:
        """See Pool."""
        self.slots.give(self._running.pop(handle))
        errors = self._ray.exceptions
        crashed = (errors.WorkerCrashedError, errors.NodeDiedError)
        try:
            found: JobReturn = self._ray.get(handle)
        except (*crashed, errors.OutOfMemoryError, errors.RaySystemError) as error:
            raise LostError(type(error).__name__) from error
        return found

    def stop(self) -> None:
        """See Pool."""
        for handle in self._running:
            self._ray.cancel(handle)
        wait_until(lambda: all(self.done(handle) for handle in self._running))
        for handle in self._running:
            self._ray.cancel(handle, force=True)
        self._ray.shutdown()
        self._running = {}


def _ray_environment(joins: bool) -> dict[str, str]:
    """Return what Ray reads at its start, unless the user has set it."""
    # It otherwise reports usage to its makers over the network.
    quiet = {"RAY_USAGE_STATS_ENABLED": "0"}
    if joins:
        return quiet
    # Whoever reaches Ray's ports and has its token runs code. Left alone it listens on all
    # interfaces of a Linux machine, and keeps one token for good in the user's home.
    here = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # the switch's name; it works on Linux too
    if "RAY_AUTH_MODE" not in os.environ:
        here |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return quiet | here


def _run(work: Work, number: int, overrides: list[str], settings: dict[str, str]) -> JobReturn:
    return work(number, overrides, settings)
