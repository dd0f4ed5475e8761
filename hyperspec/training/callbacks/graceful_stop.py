"""Stop a training on Ctrl-C or SIGTERM without losing the epoch that is almost done.

The first signal asks: at the end of the epoch a checkpoint is written and the run ends. When that
does not come within some seconds, or at a second signal, it ends at once, and the last checkpoint
stands.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from hyperspec.utils.system_calls import interrupt_main_thread

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 4.0  # for the end of the epoch; the whole must be gone within 10 s
_SAME_SECONDS = 1.0  # a terminal and a launcher both pass on one Ctrl-C
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSoftly(pl.Callback):
    """Takes SIGINT and SIGTERM while training; :attr:`asked` says that one has come.

    Nothing is taken outside of the main thread, and the handlers of submitit stay: it ignores
    SIGTERM, which SLURM sends beside the signal that means to requeue.

    Args:
        patience: Seconds from the first signal to the end without a checkpoint.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self.patience = patience
        self.asked: int | None = None
        """The signal that has come, or None."""
        self._since = 0.0
        self._timer: threading.Timer | None = None
        self._before: dict[int, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """See who handles the signals, before Lightning puts its own handler in front."""
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals after Lightning, which gives all of them back when a fit ends."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if not _of_submitit(self._before[number]):
                signal.signal(number, self._handle)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave when asked for in the last epoch: what follows may take its time."""
        if self.asked is not None:
            self.leave()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Insist no more: the run is about to end."""
        if self._timer is not None:
            self._timer.cancel()

    def leave(self) -> None:
        """End the run, as the signal that has come wants it.

        Raises:
            SystemExit: With 128 + the signal's number, as a shell reports it.
        """
        assert self.asked is not None
        raise SystemExit(128 + self.asked)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked is None:
            self.asked, self._since = number, now
            log.warning(
                "%s: the run ends after this epoch, or in %g s; once more ends it at once",
                signal.Signals(number).name,
                self.patience,
            )
            self._timer = threading.Timer(self.patience, self._insist)
            self._timer.daemon = True
            self._timer.start()
        elif now - self._since > _SAME_SECONDS:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + number)

    def _insist(self) -> None:
        assert self.asked is not None
        interrupt_main_thread(self.asked)


def _of_submitit(handler: object) -> bool:
    return type(getattr(handler, "__self__", None)).__module__.startswith("submitit")
