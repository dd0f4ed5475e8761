"""Who writes a run: a process that can be told dead from alive, whatever its number.

A process number alone is reused. Here a process is its machine, boot, process namespace, number
and start in ticks since boot, so that neither a reused number nor a clock that jumps makes a
living run look orphaned.
"""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path

from hyperspec.utils.system_calls import start_of

_PROC = Path("/proc")


def host_name() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def process_tag(pid: int | None = None) -> str:
    """Return ``boot/namespace/number/start`` of a living process, the current one by default.

    Raises:
        ProcessLookupError: If there is no such process.
    """
    number = os.getpid() if pid is None else pid
    boot, namespace = _machine()
    return f"{boot}/{namespace}/{number}/{_start(number)}"


def is_dead(host: str, tag: str) -> bool:
    """Say whether a process is surely gone; unknown counts as alive.

    It is known by what :func:`host_name` and :func:`process_tag` gave.
    """
    parts = tag.split("/")
    if host != host_name() or len(parts) != 4 or not parts[2].isdigit():
        return False
    boot, namespace = _machine()
    if parts[0] != boot:
        return True  # the machine was started anew since
    if parts[1] != namespace:
        return False  # another container of this machine: its numbers mean nothing here
    try:
        return process_tag(int(parts[2])) != tag
    except ProcessLookupError:
        return True


@lru_cache
def _machine() -> tuple[str, str]:
    """Return the boot's identity and the process namespace ("-" where the system has none)."""
    boot_file, namespace = _PROC / "sys/kernel/random/boot_id", _PROC / "self/ns/pid"
    if boot_file.exists() and namespace.is_symlink():
        inode = "".join(c for c in os.readlink(namespace) if c.isdigit())
        return boot_file.read_text().strip(), inode
    return "-", "-"


def _start(pid: int) -> str:
    """Return the start of a process; a zombie counts as gone."""
    stat = _PROC / str(pid) / "stat"
    if _machine()[0] == "-":
        return start_of(pid)
    try:
        # The name in parentheses may hold spaces; state and start are fields 3 and 22 (proc(5)).
        fields = stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return fields[19]
