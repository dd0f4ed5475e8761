"""One view of a sweep while it runs: a screen on a terminal, a line per job elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from hyperspec.config.compose import typed_words
from hyperspec.runs.job_state import begin, end, forget
from hyperspec.search.request import less_is_better
from hyperspec.sweeps.progress import once
from hyperspec.sweeps.validation import count_jobs
from hyperspec.utils.progress import is_quiet

if TYPE_CHECKING:
    from hyperspec.sweeps.progress.view import Watcher


class LiveCallback(Callback):
    """Note how each job of a multirun ends, and show all of them while the sweep runs.

    Configured as ``hydra.callbacks.live._target_``, after the sweep's own callback; it reads
    ``sweep.live``.
    """

    def __init__(self) -> None:
        self._watcher: Watcher | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel to workers without the view: it is the controller's."""
        return {"_watcher": None}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin to watch."""
        once.forget()
        style = str(OmegaConf.select(config, "sweep.live") or "off")
        if style == "off" or is_quiet():
            return
        if style == "auto":
            on_screen = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
            style = "rich" if on_screen else "plain"
        from hyperspec.sweeps.progress.view import Overview, Watcher

        folder = Path(config.hydra.runtime.cwd) / str(config.hydra.sweep.dir)
        forget(folder)
        total = count_jobs(config)
        shared = frozenset(typed_words(config))
        title = str(config.get("study") or "sweep")
        overview = Overview(title, total, shared, less_is_better(config))
        self._watcher = Watcher(folder, overview, style)
        self._watcher.start()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Leave the last state standing."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None

    def on_job_start(
        self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any
    ) -> None:
        """Note the start, in the job's own process."""
        if _in_sweep(config):
            begin(config)
            once.say_once()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note the end, in the job's own process."""
        if _in_sweep(config):
            end(config, job_return)
            # Launchers keep what every job returned until the last one has: half a megabyte each
            # with these, which nothing reads any more.
            job_return.cfg = job_return.hydra_cfg = None
        if self._watcher is not None:
            self._watcher.look()


def _in_sweep(config: DictConfig) -> bool:
    return OmegaConf.select(config, "hydra.mode") is not None and (
        getattr(config.hydra.mode, "name", str(config.hydra.mode)) == "MULTIRUN"
    )
