"""What a sweep shows while it runs: counts, leading job, time left, from its folder alone."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hyperspec.runs.job_state import (
    FAILED,
    FINISHED,
    LOST,
    RUNNING,
    STOPPED,
    TAKEN,
    JobState,
    Reader,
    read_total,
)
from hyperspec.utils.progress import OWN_VIEW
from hyperspec.utils.text import duration

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0  # between two looks at the sweep's folder
_SHOWN = 4  # running jobs with a line of their own
_FAILURES = 3  # and failed ones
_STYLES = {FINISHED: "green", TAKEN: "green", STOPPED: "yellow", RUNNING: "cyan"}
_STYLES |= {FAILED: "bold red", LOST: "bold red"}


@dataclass(frozen=True)
class Overview:
    """What is known of a sweep before its first job.

    Args:
        title: Its study.
        total: Jobs in the end.
        shared: Overrides of all jobs.
        less_is_better: Whether the objective is to be small.
    """

    title: str
    total: int
    shared: frozenset[str]
    less_is_better: bool = False

    def words(self, state: JobState) -> str:
        """Return what sets a job apart."""
        shared = {_plain(word) for word in self.shared}
        own = [word.replace("\\", "") for word in state.words if _plain(word) not in shared]
        return " ".join(own) or f"job {state.name}"

    def num_total(self, states: Sequence[JobState]) -> int:
        """Return how many jobs this start of the sweep has: a search goes on at its first trial."""
        first = min((int(s.name) for s in states if s.name.isdigit()), default=0)
        return max(self.total - first, len(states))


def _plain(word: str) -> str:
    """Return a word for comparing: a sweeper writes ``False`` for ``false`` and escapes colons."""
    return word.replace("\\", "").lower()


def best_of(states: Sequence[JobState], *, less_is_better: bool = False) -> JobState | None:
    """Return the job with the highest objective, or the lowest one, or None."""
    scored = [s for s in states if s.state in (FINISHED, TAKEN) and not math.isnan(s.objective)]
    sign = -1 if less_is_better else 1
    return max(scored, key=lambda state: sign * state.objective, default=None)


def seconds_left(total: int, states: Sequence[JobState], now: float) -> float:
    """Predict the rest from the mean of the jobs that trained to their end; NaN before that."""
    took = [s.seconds for s in states if s.state in (FINISHED, STOPPED)]
    over = sum(state.ended for state in states)
    if over >= total:
        return 0.0
    if not took:
        return math.nan
    # The first job imports, packs and warms up; it says little about those after it.
    mean = sum(took[1:]) / len(took[1:]) if len(took) > 2 else sum(took) / len(took)
    running = [s for s in states if s.state == RUNNING]
    ahead = sum(max(mean - (now - s.started), 0.0) for s in running)
    waiting = max(total - over - len(running), 0) * mean
    return (ahead + waiting) / max(len(running), 1)


def line(
    overview: Overview, states: Sequence[JobState], state: JobState, place: int, now: float
) -> str:
    """Return one line about a job that has ended."""
    total = overview.num_total(states)
    parts = [f"sweep {place}/{total}", overview.words(state), _outcome(state)]
    if state.state != LOST:
        parts.append(duration(state.seconds))
    left = seconds_left(total, states, now)
    if place < total and not math.isnan(left):
        parts.append(f"left {duration(left)}")
    return "  ".join(parts)


def _outcome(state: JobState) -> str:
    if state.state in (FAILED, LOST):
        return f"{state.state.upper()} {state.reason}"
    value = "" if math.isnan(state.objective) else f"objective {state.objective:.3f}"
    return value if state.state == FINISHED else f"{state.state} {value}".rstrip()


def panel(overview: Overview, states: Sequence[JobState], now: float) -> RenderableType:
    """Return the screen."""
    total = overview.num_total(states)
    over = sum(state.ended for state in states)
    left = seconds_left(total, states, now)
    start = min((state.started for state in states), default=now)
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True)
    ending = "" if math.isnan(left) else f"left {duration(left)}"
    bar.add_row(
        ProgressBar(total=total, completed=over),
        Text(f"{over}/{total}  {duration(now - start)}  {ending}".rstrip()),
    )
    rows: list[RenderableType] = [bar, _counts(states)]
    best = best_of(states, less_is_better=overview.less_is_better)
    if best is not None:
        # One job's value has no interval, and the highest of many is high by chance too: the
        # report says which settings do better.
        end = "lowest" if overview.less_is_better else "highest"
        found = Text(f"{end} of single jobs {best.objective:.3f}  ", style="bold")
        rows.append(_cut(found.append(overview.words(best), style="not bold")))
    running = [state for state in states if state.state == RUNNING]
    for state in running[:_SHOWN]:
        words = f"  {overview.words(state)}  {duration(now - state.started)}"
        rows.append(_cut(Text("running", style=_STYLES[RUNNING]).append(words, style="default")))
    if len(running) > _SHOWN:
        rows.append(Text(f"and {len(running) - _SHOWN} more running"))
    for state in [s for s in states if s.state in (FAILED, LOST)][-_FAILURES:]:
        words = f"  {overview.words(state)}: {state.reason}"
        rows.append(_cut(Text(state.state, style=_STYLES[FAILED]).append(words, style="default")))
    return Panel(Group(*rows), title=overview.title, title_align="left", border_style="dim")


def _counts(states: Sequence[JobState]) -> Text:
    counted = Counter(state.state for state in states)
    found = Text()
    for kind in (FINISHED, TAKEN, RUNNING, STOPPED, FAILED, LOST):
        if counted[kind]:
            found.append(f"{counted[kind]} {kind}", style=_STYLES[kind]).append("  ")
    return found if found.plain else Text("no job has started")


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


class Watcher:
    """Looks at a sweep's folder every second, from a thread of the controller.

    The view is ``rich``, a screen, or ``plain``, a line per job that has ended.
    """

    def __init__(self, folder: Path, overview: Overview, style: str) -> None:
        self._folder, self._reader, self._overview = folder, Reader(folder), overview
        self._told: set[tuple[str, float]] = set()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep view", daemon=True)
        self._live = Live(console=Console(), auto_refresh=False) if style == "rich" else None
        self._environment = os.environ.get(OWN_VIEW)

    def start(self) -> None:
        """Show the view and start looking."""
        if self._live is not None:
            os.environ[OWN_VIEW] = "1"  # workers inherit it: no bars of their own
            self._live.start()
        self._thread.start()

    def stop(self) -> None:
        """Look once more and end."""
        self._over.set()
        self._thread.join()
        self.look()
        if self._live is not None:
            self._live.stop()
            if self._environment is None:
                os.environ.pop(OWN_VIEW, None)

    def look(self) -> None:
        """Read the folder and show what is new."""
        with self._lock:
            states = self._reader.states()
            if (total := read_total(self._folder)) is not None:
                self._overview = replace(self._overview, total=total)
            now = time.time()
            if self._live is not None:
                self._live.update(panel(self._overview, states, now), refresh=True)
                return
            ended = [state for state in states if state.ended]
            ended.sort(key=lambda state: state.started + state.seconds)
            for place, state in enumerate(ended, 1):
                if (state.name, state.started) not in self._told:
                    self._told.add((state.name, state.started))
                    print(line(self._overview, states, state, place, now), flush=True)

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            try:
                self.look()
            except (OSError, ValueError) as error:  # a folder that is away for a moment
                log.debug("the view of the sweep is not up to date: %s", error)
