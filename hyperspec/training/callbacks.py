"""What watches a run: non-finite losses, cost, gradient norm, validation in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from hyperspec.data.datamodule import Batch
from hyperspec.spectra.errors import HyperspecError
from hyperspec.training import memory

# What a search may stop a run by, the best that the data allow first.
REPORTED = ("val/knn_top1", "val/view_retrieval_top1", "val/rankme")


class TrainingError(HyperspecError):
    """Training cannot go on."""


class StopOnNonFinite(pl.Callback):
    """Stop with the step and the batch's files when the loss is NaN or infinite.

    Args:
        files: File of each row of the source, for the message.
        every_n_steps: Steps between checks. Looking at a loss on a GPU waits for it, so that a
            GPU run checks now and then; a non-finite loss does not become finite again.
    """

    def __init__(self, files: list[str], every_n_steps: int = 1) -> None:
        self.files, self.every_n_steps = files, every_n_steps

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Check the loss of the step that just ended."""
        if batch_idx % self.every_n_steps:
            return
        loss: Tensor = outputs["loss"]
        if bool(torch.isfinite(loss)):
            return
        names = [self.files[row] for row in batch.rows.tolist()]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        raise TrainingError(
            f"The loss became {loss.item()} at step {trainer.global_step} (epoch "
            f"{trainer.current_epoch}) on a batch of {len(names)} images: {shown}. Lower lr, raise "
            "loss.temperature, set clip_norm, or use hardware.precision=32; `hyperspec check` "
            "finds NaN in cubes."
        )


class CostMeter(pl.Callback):
    """Measures training seconds, images per second and peak memory."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self._started = 0.0
        self._images = 0
        self._before = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        memory.reset_peak()
        self._started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the step's images."""
        self._images += len(batch.rows) * trainer.world_size

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        seconds = self._seconds()
        self.metrics = {
            "cost/train_seconds": seconds,
            "cost/samples_per_second": self._images / seconds,
            "cost/peak_memory_mb": memory.peak_mb(pl_module.device),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what was spent so far, for a run that goes on from a checkpoint."""
        return {"seconds": self._seconds(), "images": self._images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from what the interrupted run had spent."""
        self._before, self._images = float(state_dict["seconds"]), int(state_dict["images"])

    def _seconds(self) -> float:
        return self._before + time.perf_counter() - self._started


class GradientNorm(pl.Callback):
    """Logs the norm of the whole gradient before clipping.

    Args:
        every_n_steps: Optimizer steps between logged norms, at least 1.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log ``train/grad_norm``."""
        if trainer.global_step % self.every_n_steps:
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        pl_module.log("train/grad_norm", get_total_norm(gradients))


class Validate(pl.Callback):
    """Scores the encoder on the validation part every few epochs.

    Args:
        score: Returns metrics of the current encoder, named as they are logged.
        every_n_epochs: Epochs between scores, at least 1.
        report: Takes the first metric of ``REPORTED`` and the epoch; True stops the training
            softly, so that the run ends as any other.
    """

    def __init__(
        self,
        score: Callable[[], dict[str, float]],
        every_n_epochs: int,
        report: Callable[[float, int], bool] | None = None,
    ) -> None:
        self.score, self.every_n_epochs, self.report = score, every_n_epochs, report

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score after every n-th epoch; the last one is scored by the run itself."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every_n_epochs or epoch == trainer.max_epochs:
            return
        metrics = self.score()
        pl_module.log_dict(metrics)
        main = next((metrics[name] for name in REPORTED if name in metrics), None)
        if self.report is not None and main is not None and self.report(main, epoch):
            trainer.should_stop = True
