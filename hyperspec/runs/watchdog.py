"""Jobs do not outlive whoever started them.

A launcher that is killed leaves its workers running: they hold the cores and write runs that
nobody waits for. Here a thread in each worker looks whether the sweep's controller still lives. It
knows it by boot, process namespace, number and start (:mod:`hyperspec.utils.process`), so that
neither a reused number nor a jump of the clock deceives it. Signals to the parent's death alone
(``PR_SET_PDEATHSIG``) would not reach a worker that some daemon of the launcher has started.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import psutil

from hyperspec.tracking.parent import ParentInfo
from hyperspec.utils.process import host_name, is_dead, process_tag
from hyperspec.utils.system_calls import ask_to_leave, interrupt_main_thread

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5  # between looks at the controller
# A job that is asked to leave gets a checkpoint out at the end of its epoch if that comes in time
# (hyperspec.training.callbacks.graceful_stop), then closes its run, all of it well below 10 s.
LEAVE_SECONDS = 7.0
_CLOSE_SECONDS = 1.5  # for closing the run from outside when the job does not

_lock = threading.Lock()
_watched: set[str] = set()
_jobs: list[Callable[[], None]] = []


def scheduler_job() -> str:
    """Return the number of the SLURM job that this process runs in, or nothing."""
    return os.environ.get("SLURM_JOB_ID", "")


def watches(parent: ParentInfo) -> bool:
    """Say whether this process must end with the sweep's controller.

    Not the controller itself; not a process of another machine, container or SLURM job, which
    may well outlive the shell that submitted it.
    """
    own, theirs = process_tag().split("/"), parent.process.split("/")
    same_machine = parent.host == host_name() and own[:2] == theirs[:2]
    return same_machine and own != theirs and parent.scheduler == scheduler_job()


def watch(parent: ParentInfo) -> bool:
    """Start watching the sweep's controller, once per process; return whether it is watched.

    A controller that is dead already ends the process as soon as the thread looks.
    """
    if not watches(parent):
        return False
    with _lock:
        if parent.process in _watched:
            return True
        _watched.add(parent.process)
    _hear_interruptions()
    arguments = (parent.host, parent.process)
    threading.Thread(target=_look, args=arguments, name="watchdog", daemon=True).start()
    return True


@contextlib.contextmanager
def closing(close: Callable[[], None]) -> Iterator[None]:
    """Tell the watchdog how to close the run of the job inside, should it not do so itself."""
    _jobs.append(close)
    try:
        yield
    finally:
        _jobs.remove(close)


def leave_all(
    processes: list[psutil.Process],
    seconds: float = LEAVE_SECONDS,
    over: Callable[[], bool] = lambda: False,
) -> None:
    """End other processes with all below them: first softly (SIGINT), then hard.

    They may take some seconds to leave by themselves, less when ``over`` says that their jobs have
    ended, so that none needs more time.
    """
    below = _all_below(processes)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            ask_to_leave(process)
    deadline = time.monotonic() + seconds
    alive = processes
    while alive and time.monotonic() < deadline and not over():
        _, alive = psutil.wait_procs(alive, timeout=0.1)
        below |= _all_below(alive)  # started since
    below |= _all_below(alive)
    for process in [*alive, *below]:
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            process.kill()
    psutil.wait_procs([*alive, *below], timeout=1)


def _look(host: str, process: str) -> None:
    while not is_dead(host, process):
        time.sleep(POLL_SECONDS)
    _end()


def _end() -> None:
    """End this process: its job is asked, then its run is closed from here, then it is killed."""
    log.warning("the sweep's controller is gone; this worker ends")
    deadline = time.monotonic() + LEAVE_SECONDS
    if _jobs:
        with contextlib.suppress(ValueError, ProcessLookupError):  # its thread is gone
            interrupt_main_thread(signal.SIGINT)
    while _jobs and time.monotonic() < deadline:
        time.sleep(0.05)
    for close in list(_jobs):
        closer = threading.Thread(target=close, daemon=True)
        closer.start()
        closer.join(_CLOSE_SECONDS)
    for child in _below(psutil.Process()):
        with contextlib.suppress(psutil.Error):
            child.kill()
    # No atexit handlers: those of a pool would wait for the controller that is gone.
    os._exit(128 + signal.SIGTERM)


def _all_below(processes: list[psutil.Process]) -> set[psutil.Process]:
    return {child for process in processes for child in _below(process)}


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _hear_interruptions() -> None:
    """Let SIGINT raise KeyboardInterrupt here, where a launcher started the worker deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, signal.default_int_handler)
