"""Looks at a sweep's folder while it runs, and shows what it sees."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from hyperspec.runs.job_state import Reader
from hyperspec.sweeps.progress.view import Overview, line, panel
from hyperspec.utils.progress import OWN_VIEW

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0  # between two looks at the sweep's folder


class Watcher:
    """Looks at a sweep's folder every second, from a thread of the controller.

    Args:
        folder: The sweep's folder.
        overview: What is known before the first job.
        style: ``rich`` or ``plain``.
    """

    def __init__(self, folder: Path, overview: Overview, style: str) -> None:
        self._reader, self._overview = Reader(folder), overview
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
