"""A side of the comparison in a process of its own, as it is used.

In one process the large batches of one side would decide where the allocator puts the other's.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

_LEAST, _MOST = 3, 15  # calls to warm up: until three in a row are no faster than the three before
_SETTLED = 0.95


class Side(Protocol):
    """What is timed."""

    parts: list[list[float]]


class Process:
    """A side that waits in its own process for what it is told.

    Args:
        make: Builds the side, in that process.
        arguments: Of ``make``.
    """

    def __init__(self, make: Callable[..., Side], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        # No daemon: the recipe's own reading processes are its children.
        self._process = context.Process(target=_serve, args=(there, make, arguments), daemon=False)
        self._process.start()
        there.close()

    def warm(self, what: str) -> int:
        """Call until it gets no faster; return how often."""
        return int(self._ask("warm", what))

    def time(self, what: str, count: int, lead: int) -> float:
        """Return seconds per call over so many in a row, after ``lead`` that are left out."""
        return float(self._ask("time", what, count, lead))

    def processor_time(self, what: str, count: int, lead: int) -> float:
        """Return what :meth:`time` does in seconds of the process's processor time."""
        return float(self._ask("processor", what, count, lead))

    def parts(self) -> list[float]:
        """Return the median seconds of a step's parts since the last time of asking."""
        found: list[float] = self._ask("parts")
        return found

    def peak_mb(self) -> float:
        """Return the process's peak resident memory so far, without reading processes."""
        return float(self._ask("peak"))

    def close(self) -> None:
        """End the process."""
        self._here.close()
        self._process.join()

    def _ask(self, *words: object) -> Any:
        self._here.send(words)
        try:
            return self._here.recv()
        except EOFError:
            raise SystemExit("A side of the comparison ended; its error stands above.") from None


def _serve(pipe: Connection, make: Callable[..., Side], arguments: tuple[object, ...]) -> None:
    warnings.filterwarnings("ignore")  # as in the process that asks
    side = make(*arguments)
    while True:
        try:
            word, *rest = pipe.recv()
        except EOFError:
            return
        if word == "warm":
            pipe.send(_warm(side, *rest))
        elif word == "time":
            pipe.send(_time(side, *rest))
        elif word == "processor":
            pipe.send(_time(side, *rest, time.process_time))
        elif word == "parts":
            pipe.send([statistics.median(column) for column in zip(*side.parts, strict=True)])
            side.parts.clear()
        else:
            pipe.send(_peak_mb())


def _warm(side: Side, what: str) -> int:
    seconds: list[float] = []
    while len(seconds) < _MOST:
        start = time.perf_counter()
        getattr(side, what)()
        seconds.append(time.perf_counter() - start)
        before, last = seconds[-2 * _LEAST : -_LEAST], seconds[-_LEAST:]
        if len(before) == _LEAST and sum(last) > _SETTLED * sum(before):
            break
    side.parts.clear()
    return len(seconds)


def _time(
    side: Side, what: str, count: int, lead: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    for _ in range(lead):
        getattr(side, what)()
    start = clock()
    for _ in range(count):
        getattr(side, what)()
    return (clock() - start) / count


def _peak_mb() -> float:
    # Not ru_maxrss, which a new process takes over from the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:", 1)[1].split()[0]) / 1024
