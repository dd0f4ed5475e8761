"""What a training is given: its settings, its specimens, and what runs around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytorch_lightning as pl
import torch

from hyperspec.config.schema import Train
from hyperspec.tracking.run import JobRun
from hyperspec.training.data import Material
from hyperspec.training.simclr import SimCLR

Report = Callable[[float, int], bool]


@dataclass(frozen=True)
class Session:
    """What a sweep asks of the training of one of its jobs; empty for a run of its own.

    Args:
        ckpt: Checkpoint of the same job to go on from, before any that the config names.
        callbacks: What watches the training besides the run's own callbacks, after them.
        report: Takes score and epoch, and says whether to stop.
        search: The same for the search of ``bands=learned``, which trains before.
        keep: Takes the checkpoint at the end of the training, when that is to be kept.
    """

    ckpt: Path | None = None
    callbacks: Sequence[pl.Callback] = ()
    report: Report | None = None
    search: Session | None = None
    keep: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class RunContext:
    """What every step of a run is given; a step that changes one of it makes a new context.

    Args:
        config: The checked config.
        data: Specimens, their split, and the bands at hand.
        device: The training device.
        run: The tracked run that everything is logged to.
        folder: Folder of the job, where its checkpoint is written.
        session: What the sweep asks of the job, when it is one of a sweep.
        forecast: Logs what a training will take, just before it begins; None for no forecast.
    """

    config: Train
    data: Material
    device: torch.device
    run: JobRun
    folder: Path
    session: Session = field(default_factory=Session)
    forecast: Callable[[RunContext, SimCLR], None] | None = None
