"""What a sweep asks of the training of one of its jobs: checkpoints, and whether to go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytorch_lightning as pl

Report = Callable[[float, int], bool]


@dataclass
class Session:
    """One training inside of whatever runs it; empty for a run of its own.

    Args:
        ckpt: Checkpoint of the same job to go on from, before any that the config names.
        callbacks: What watches the training besides the run's own callbacks, after them.
        reporter: Takes score and epoch, and says whether to stop.
        search: The same for the search of ``bands=learned``, which trains before.
        keep: Takes the checkpoint at the end of the training, when that is to be kept.
    """

    ckpt: Path | None = None
    callbacks: list[pl.Callback] = field(default_factory=list)
    reporter: Report | None = None
    search: Session | None = None
    keep: Callable[[Path], None] | None = None
    stopped: tuple[int, float] | None = field(default=None, init=False)
    """Epoch and score at which it was stopped early."""

    def report(self, score: float, epoch: int) -> bool:
        """Hand a score on; return whether to stop, and remember it."""
        if self.reporter is not None and self.reporter(score, epoch):
            self.stopped = (epoch, score)
        return self.stopped is not None
