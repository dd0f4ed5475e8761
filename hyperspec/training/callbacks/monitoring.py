"""What watches a run: non-finite losses, cost, gradient norm, validation in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.evaluation.metrics import leading, natural_direction
from hyperspec.tracking.contract import MetricName
from hyperspec.tracking.lightning import log_now
from hyperspec.training import allocator as memory
from hyperspec.training.callbacks.checkpointing import KeepCheckpoints, origin
from hyperspec.utils.distributed import world
from hyperspec.utils.errors import HyperspecError
from hyperspec.utils.progress import Advance, progress


class TrainingError(HyperspecError):
    """Training cannot go on."""


class StopOnNonFinite(pl.Callback):
    """Stop with the step, the batch's files and the last good checkpoint at a NaN or infinity.

    Args:
        files: File of each row of the source, for the message.
        every_n_steps: Steps between checks. Looking at a loss on a GPU waits for it, so that a
            GPU run looks at several losses at once, and names the first that is not finite.
    """

    def __init__(self, files: list[str], every_n_steps: int = 1) -> None:
        self.files, self.every_n_steps = files, every_n_steps
        self._losses: list[tuple[int, Tensor, Tensor]] = []  # step, rows and loss not yet looked at

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Check the losses of the steps since the last check."""
        self._losses.append((trainer.global_step, batch.rows, outputs["loss"].detach()))
        if len(self._losses) >= self.every_n_steps:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check losses and weights before anything keeps a checkpoint of them."""
        last = self._losses[-1] if self._losses else None
        self._check(trainer)
        if not _all_finite([p.detach() for p in pl_module.parameters()]):
            step, rows = (last[0], last[1]) if last is not None else (trainer.global_step, None)
            self._stop(trainer, "Weights became NaN or infinite", step, rows)

    def _check(self, trainer: pl.Trainer) -> None:
        if not self._losses:
            return
        finite = torch.isfinite(torch.stack([loss for _, _, loss in self._losses])).tolist()
        if not all(finite):
            step, rows, loss = self._losses[finite.index(False)]
            self._stop(trainer, f"The loss became {loss.item()}", step, rows)
        self._losses.clear()

    def _stop(self, trainer: pl.Trainer, what: str, step: int, rows: Tensor | None) -> None:
        names = [] if rows is None else [self.files[row] for row in rows.tolist()]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        where = f" on a batch of {len(names)} images: {shown}" if names else ""
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        kept = next((c for c in callbacks if isinstance(c, KeepCheckpoints)), None)
        path = None if kept is None else kept.slots.latest()
        good = "No checkpoint was kept before."
        if path is not None:
            good = f"The last good checkpoint is {path} (step {origin(path)[1]})."
        raise TrainingError(
            f"{what} at step {step} (epoch {trainer.current_epoch}){where}. Lower lr, raise "
            "loss.temperature, set clip_norm, or use hardware.precision=32; `hyperspec check` "
            f"finds NaN in cubes. {good}"
        )


def _all_finite(weights: list[Tensor]) -> bool:
    """Say whether every weight is finite, in one pass over them where it is so.

    A sum over a NaN or an infinity is not finite; one over huge weights may not be either, and is
    looked into.
    """
    sums = torch.stack([weight.sum() for weight in weights])
    return bool(torch.isfinite(sums).all()) or all(bool(w.isfinite().all()) for w in weights)


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
        elif pl_module.device.type == "mps":
            torch.mps.synchronize()
        seconds = self._seconds()
        self.metrics = {
            MetricName.TRAIN_SECONDS: seconds,
            MetricName.SAMPLES_PER_SECOND: self._images / seconds,
            MetricName.PEAK_MEMORY: memory.peak_mb(pl_module.device),
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
    """Logs the norm of the gradient before clipping, whole and by stage, every 1 or more steps."""

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log ``train/grad_norm`` and ``grad_norm/<stage>``."""
        if trainer.global_step % self.every_n_steps:
            return
        gradients: dict[str, list[Tensor]] = {}
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                gradients.setdefault(stage_of(name), []).append(parameter.grad)
        norms = {
            MetricName.GRAD_NORM_OF.of(stage): get_total_norm(of) for stage, of in gradients.items()
        }
        if norms:
            pl_module.log(MetricName.GRAD_NORM, get_total_norm(list(norms.values())))
            pl_module.log_dict(norms)


def stage_of(parameter: str) -> str:
    """Return the stage of the network that a parameter belongs to, by its dotted name.

    Returns:
        ``projection`` (bands to channels), a stage of the backbone (``stem``, ``layer1``, ...), or
        ``head`` and its like.
    """
    words = parameter.split(".")
    if "stages" in words:
        return words[words.index("stages") + 1]
    if words[0] == "encoder":
        return "after_pool" if "after_pool" in words else "projection"
    return words[0]


def best_scores(best: dict[str, float], metrics: Mapping[str, float]) -> dict[str, float]:
    """Take in scores, and return the best of each so far by the name ``best/<name>``.

    MLflow's table and charts show a metric's last value. ``best`` is brought up to date.
    """
    for key in (f"val/{name}" for name in leading()):
        if key in metrics:
            better = max if natural_direction(key) == "maximize" else min
            best[key] = better(metrics[key], best.get(key, metrics[key]))
    return {MetricName.BEST.of(key.replace("/", "_")): value for key, value in best.items()}


class Validate(pl.Callback):
    """Scores the encoder on the validation part every few epochs.

    Args:
        score: Returns metrics of the current encoder, named as they are logged.
        every_n_epochs: Epochs between scores; 0 scores none.
        report: Takes the first leading metric of the run and the epoch; True stops the training
            softly, so that the run ends as any other.
        best: Where the best of each score so far is kept.
    """

    def __init__(
        self,
        score: Callable[[], dict[str, float]],
        every_n_epochs: int,
        report: Callable[[float, int], bool] | None = None,
        best: dict[str, float] | None = None,
    ) -> None:
        self.score, self.every_n_epochs, self.report = score, every_n_epochs, report
        self.best = {} if best is None else best
        self.stopped: tuple[int, float] | None = None
        """Epoch and score at which it stopped the training."""

    def state_dict(self) -> dict[str, Any]:
        """Return the best scores so far, for a run that goes on from a checkpoint."""
        return {"best": dict(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best scores of the interrupted run."""
        self.best |= {str(key): float(value) for key, value in state_dict["best"].items()}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Score after every n-th epoch; the last one is scored by the run itself."""
        epoch = trainer.current_epoch + 1
        every = self.every_n_epochs
        if not every or epoch % every or epoch == trainer.max_epochs:
            return
        rank, processes = world()
        # Rank 0 scores; all log the same and stop together.
        metrics = self.score() if rank == 0 else {}
        if processes > 1:
            metrics = trainer.strategy.broadcast(metrics)
        log_now(trainer, {**metrics, **best_scores(self.best, metrics)})
        keys = (f"val/{name}" for name in leading())
        main = next((metrics[key] for key in keys if key in metrics), None)
        if main is None:
            return
        stops = rank == 0 and self.report is not None and self.report(main, epoch)
        if processes > 1:
            stops = trainer.strategy.broadcast(stops)
        if stops:
            self.stopped = (epoch, main)
            trainer.should_stop = True


class ShowEpochs(ExitStack, pl.Callback):
    """Show which epoch a training is in, and the time that is left; use it around ``fit``.

    Args:
        name: Of the run.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._what = f"Training {name}"
        self._advance: Advance | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count, where a resumed run goes on."""
        left = (trainer.max_epochs or 0) - trainer.current_epoch
        steps = max(left, 0) * int(trainer.num_training_batches)
        self._advance = self.enter_context(progress(self._what, steps))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count a step."""
        if self._advance is not None:
            epochs = f"steps, epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
            self._advance(text=epochs)
