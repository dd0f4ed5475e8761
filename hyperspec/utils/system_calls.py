"""Calls that not every system has, each with a plain way beside it: asked for here by all rooms.

Windows has no ``preadv``, no ``resource`` and no signals to threads or to other processes, macOS no
``posix_fadvise``. Whether a call is there is looked at when it is needed, not by the system's name.
"""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

# Fails at once instead of waiting for the disk; 0 where no read can be told so.
NO_WAIT: int = getattr(os, "RWF_NOWAIT", 0) if hasattr(os, "preadv") else 0
# A process that Ctrl-C in this one's terminal does not reach: a session of its own, on Windows,
# which has none, a group of its own. Passed beside ``start_new_session``.
OWN_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
_COPIED_BYTES = 4 * 2**20  # of a read that makes bytes first, which are then copied
_seeking = threading.Lock()


def open_to_read(path: Path) -> int:
    """Return a descriptor of a file's bytes: as they are, where a system has texts of its own."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))


def read_at(descriptor: int, target: memoryview | bytearray, offset: int, flags: int = 0) -> int:
    """Read into a buffer from a place in a file; return how many bytes came, 0 at its end.

    Threads may share the descriptor. Of a call there may come fewer bytes than fit.

    Args:
        descriptor: The file, open for reading.
        target: Where the bytes go.
        offset: Where they begin in the file.
        flags: 0 or :data:`NO_WAIT`.
    """
    if hasattr(os, "preadv"):
        return int(os.preadv(descriptor, [target], offset, flags))
    length = min(len(target), _COPIED_BYTES)
    if hasattr(os, "pread"):
        got = bytes(os.pread(descriptor, length, offset))
    else:
        with _seeking:  # the place in the file belongs to all threads
            os.lseek(descriptor, offset, os.SEEK_SET)
            got = os.read(descriptor, length)
    target[: len(got)] = got
    return len(got)


def announce(descriptor: int, offset: int, length: int) -> None:
    """Tell the system which part of a file is read soon; nothing where it does not listen."""
    if hasattr(os, "posix_fadvise"):
        soon: int = getattr(os, "POSIX_FADV_WILLNEED", 0)
        os.posix_fadvise(descriptor, offset, length, soon)


def most_open_files() -> int | None:
    """Return how many files the process may have open; None where nothing limits or tells it."""
    resource = _resource()
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else int(limit)


def peak_resident_bytes() -> int:
    """Return the most memory that the process has had since its start."""
    resource = _resource()
    if resource is None:
        import psutil

        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))  # the first is Windows' own peak
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024  # a Mac counts bytes, others kB


def interrupt_main_thread(number: int) -> None:
    """Send a signal to the main thread, from any other.

    Without signals to threads its handler is called as soon as Python runs there again.

    Raises:
        ProcessLookupError: If the thread is gone.
    """
    if hasattr(signal, "pthread_kill"):
        ident = threading.main_thread().ident
        assert ident is not None, "the main thread has been started"
        signal.pthread_kill(ident, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


def ask_to_leave(process: psutil.Process) -> None:
    """Send Ctrl-C (SIGINT) to a process of ours.

    On Windows a process cannot send it to a single other one. A Ctrl-C that was typed has reached
    all processes of the terminal there by itself.

    Raises:
        psutil.Error: If it is gone.
    """
    if os.name != "nt":
        process.send_signal(signal.SIGINT)


def start_of(pid: int) -> str:
    """Return when a process was started, where the system has no ``/proc``; a zombie is gone.

    Raises:
        ProcessLookupError: If there is no such process.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            raise ProcessLookupError(pid)
        return f"{process.create_time():.3f}"
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(pid) from error


def _resource() -> Any:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource
