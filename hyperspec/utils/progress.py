"""What is seen while something takes long: a bar on a terminal, a line now and then elsewhere.

Both go to standard error, so that what a command answers can be piped.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hyperspec.utils.text import duration

# Set while a sweep has a view of its own, for its jobs in this process and in others.
OWN_VIEW = "HYPERSPEC_SWEEP_VIEW"
# Set by `--quiet`, for this process and those that it starts.
QUIET = "HYPERSPEC_QUIET"
FLAG = "--quiet"

_FIRST_SECONDS = 1.0  # what is over sooner is not worth a line
_SILENT_SECONDS = 0.7  # that a process may begin with, what it imports included
_NEXT_SECONDS = 20.0
_LOOK_SECONDS = 0.2
_KNOWN_SHARE = 0.05  # of the items, before which nobody can tell how long the rest takes

T = TypeVar("T")
Advance = Callable[..., None]
"""``advance(count=1, text=None)``: more items are done; the text is seen beside their number."""


def bars_wanted() -> bool:
    """Say whether a progress bar has a terminal to itself."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and _is_free()


def is_quiet() -> bool:
    """Say whether nothing is wanted to be shown."""
    return bool(os.environ.get(QUIET))


def _is_free() -> bool:
    """Say whether progress is wanted, and no sweep's view shows it."""
    return not is_quiet() and OWN_VIEW not in os.environ


def take_flag(words: list[str]) -> list[str]:
    """Take ``--quiet`` out of the words of any command, and heed it."""
    if FLAG in words:
        os.environ[QUIET] = "1"
    return [word for word in words if word != FLAG]


@dataclass
class _Step:
    """Something that takes a while, of ``total`` items where they can be counted."""

    what: str
    total: int | None
    start: float = field(default_factory=time.monotonic)
    done: int = 0
    beside: str = ""
    told: bool = False
    task: Any = None

    @property
    def count(self) -> str:
        """How many are done, and what else is seen."""
        number = f"{self.done}/{self.total}" if self.total else ""
        return "  ".join(filter(None, [number, self.beside]))

    def line(self, now: float) -> str:
        """All of it in one line."""
        parts = [" ".join(filter(None, [self.what, self.count]))]
        if self.total and _KNOWN_SHARE * self.total <= self.done < self.total:
            left = (now - self.start) / self.done * (self.total - self.done)
            parts.append(f"left {duration(left)}")
        elif self.told:
            parts.append(f"for {duration(now - self.start)}")
        return f"{', '.join(parts)} ..."


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Advance]:
    """Show what goes on while the block runs; give what counts items.

    A block inside of another is shown in its place while it runs: a screen has room for one.

    Args:
        what: Such as ``Reading cubes``.
        total: Items; None where they are not counted, and a mark only moves.
    """
    global _screen
    if total == 0 or not _is_free():
        yield lambda count=1, text=None: None
        return
    with _LOCK:
        outermost = _screen is None
        if _screen is None:
            _screen = _Bar() if bars_wanted() else _Lines()
        screen, step = _screen, _Step(what, total)
        screen.push(step)

    def advance(count: int = 1, text: str | None = None) -> None:
        step.done += count
        step.beside = step.beside if text is None else text
        screen.show(step)

    try:
        yield advance
    finally:
        with _LOCK:
            screen.remove(step)
            if outermost:
                screen.close()
                _screen = None


def counted(what: str, items: Iterable[T], total: int) -> Iterator[T]:
    """Yield items, and show how many there were so far."""
    with progress(what, total) as advance:
        for item in items:
            yield item
            advance()


class _Screen:
    """Knows what goes on; of the steps the last is shown."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []

    def push(self, step: _Step) -> None:
        """Show another step."""
        self._steps.append(step)

    def remove(self, step: _Step) -> None:
        """End a step, and go back to what it is a part of."""
        self._steps.remove(step)

    def show(self, step: _Step) -> None:
        """Show what a step has come to."""

    def close(self) -> None:
        """Leave nothing behind."""


class _Bar(_Screen):
    """A bar that goes when it is over."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # else what is piped would land on the screen
        )
        self._bar.start()

    def push(self, step: _Step) -> None:
        if self._steps:
            self._bar.update(self._steps[-1].task, visible=False)
        super().push(step)
        step.task = self._bar.add_task(step.what, total=step.total, count=step.count)

    def remove(self, step: _Step) -> None:
        super().remove(step)
        self._bar.remove_task(step.task)
        if self._steps:
            self._bar.update(self._steps[-1].task, visible=True)

    def show(self, step: _Step) -> None:
        self._bar.update(step.task, completed=step.done, count=step.count)

    def close(self) -> None:
        self._bar.stop()


class _Lines(_Screen):
    """A line about each step that takes more than a second, and now and then another."""

    def __init__(self) -> None:
        super().__init__()
        self._over, self._last = threading.Event(), 0.0
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            for step in self._steps[-1:]:
                self._look(step, time.monotonic())

    def _look(self, step: _Step, now: float) -> None:
        global _silent
        waited = now - step.start if not step.told else now - self._last
        long_silent = _silent and now - _BEGAN >= _SILENT_SECONDS and waited >= _LOOK_SECONDS
        if long_silent or waited >= (_NEXT_SECONDS if step.told else _FIRST_SECONDS):
            print(step.line(now), file=sys.stderr, flush=True)
            step.told, self._last, _silent = True, now, False


_LOCK = threading.RLock()
_BEGAN = time.monotonic()
_silent = True  # no line was written yet
_screen: _Screen | None = None
