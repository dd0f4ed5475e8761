"""Go on after an interruption as if there had been none: checkpoints with random states.

Two files take turns, so that one whole checkpoint remains whatever happens to the other. A run that
goes on from one ends with the weights of an unbroken run, bit for bit on the CPU in float32.
"""

from __future__ import annotations

import logging
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from hyperspec.training.callbacks.graceful_stop import StopSoftly
from hyperspec.training.checkpoint import read_checkpoint, write_checkpoint
from hyperspec.utils.errors import ModelError

log = logging.getLogger(__name__)

_STATE = "hyperspec_resume"  # entry of a checkpoint
_SHARE = 20  # a checkpoint that took 1 s is followed by 20 s without one: at most 5% of the time


class Slots:
    """Two checkpoint files of one job in a folder of its own, made when the first is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths = (folder / "a.ckpt", folder / "b.ckpt")
        self._turn = 0

    def latest(self) -> Path | None:
        """Return the sound checkpoint with the most steps, or None; the next goes to the other."""
        best, steps = None, -1
        for turn, path in enumerate(self._paths):
            if not path.exists():
                continue
            try:
                found = int(read_checkpoint(path)["global_step"])
            except ModelError as error:
                log.warning("a checkpoint is left out: %s", error)
                continue
            if found > steps:
                best, steps, self._turn = path, found, 1 - turn
        return best

    def next(self) -> Path:
        """Return the file that the next checkpoint is written to."""
        path = self._paths[self._turn]
        self._turn = 1 - self._turn
        return path

    def keep(self, path: Path) -> None:
        """Copy a checkpoint that was written elsewhere."""
        write_checkpoint(read_checkpoint(path), self.next())

    def clear(self) -> None:
        """Remove both, and those of earlier stages below: the job is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


class KeepCheckpoints(pl.Callback):
    """Writes a checkpoint at the end of an epoch when the last one is old enough.

    Put it after every callback that draws random numbers: it keeps their states too.

    Args:
        slots: Where they go.
        seconds: Least time between two; 0 writes after every epoch.
        run_id: The tracked run, so that the one that goes on can name it.
        before: Called before each, to write what else waits.
        soft: Says when the run was asked to end: one is written at the end of that epoch.
    """

    def __init__(
        self,
        slots: Slots,
        seconds: float,
        run_id: str,
        before: Callable[[], None],
        soft: StopSoftly | None = None,
    ) -> None:
        self.slots, self.seconds, self.run_id, self.before = slots, seconds, run_id, before
        self.soft = soft
        self._due = time.monotonic() + seconds
        self._states: dict[str, Any] | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write one when it is time; not after the last epoch, which the run itself keeps."""
        over = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        asked = self.soft is not None and self.soft.asked is not None
        due = (time.monotonic() >= self._due or asked) and not over
        # All processes must agree, or some would wait for the others for ever.
        if not trainer.strategy.reduce_boolean_decision(due, all=False):
            return
        self.before()
        started = time.monotonic()
        trainer.save_checkpoint(self.slots.next())
        ended = time.monotonic()
        pause = self.seconds and max(self.seconds, _SHARE * (ended - started))
        self._due = ended + pause
        if asked and self.soft is not None:
            self.soft.leave()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the random states."""
        # A state that was read but not yet used is still the one to go on with: a run that is
        # continued from the very end of a stage draws nothing in it.
        states = random_states() if self._states is None else self._states
        checkpoint[_STATE] = {"run_id": self.run_id, "random": states}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the random states for the first batch: Lightning's setup comes between."""
        self._states = checkpoint.get(_STATE, {}).get("random")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the random states back, once."""
        if self._states is not None:
            restore_random_states(self._states)
            self._states = None


def origin(path: Path) -> tuple[str, int]:
    """Return the run that wrote a checkpoint, and its optimizer steps."""
    checkpoint = read_checkpoint(path)
    return str(checkpoint[_STATE]["run_id"]), int(checkpoint["global_step"])


def random_states() -> dict[str, Any]:
    """Return the states of all default generators as tensors and plain values."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": [str(name), torch.from_numpy(np.array(keys, dtype=np.int64)), int(position)],
        "numpy_gauss": [int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        **({"mps": torch.mps.get_rng_state()} if torch.backends.mps.is_available() else {}),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Put back what :func:`random_states` returned, of the devices that this machine has too."""
    version, values, gauss = states["python"]
    random.setstate((version, tuple(values), gauss))
    name, keys, position = states["numpy"]
    has_gauss, cached = states["numpy_gauss"]
    state = (name, keys.numpy().astype(np.uint32), position, has_gauss, cached)
    np.random.set_state(state)  # noqa: NPY002 - the global state is what libraries draw from
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available():
        # A checkpoint of more cards than are seen here has states that nothing takes.
        for device, own in zip(range(torch.cuda.device_count()), states["cuda"], strict=False):
            torch.cuda.set_rng_state(own, device)
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])
