"""AdamW with warm-up and cosine decay by steps; its state by parameter name.

By name it outlives a change of some parameters.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import (
    LRSchedulerConfigType,
    OptimizerLRSchedulerConfig,
)
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hyperspec.utils.errors import ConfigError, ModelError

LONGEST_DEFAULT_WARMUP = 10  # steps; AdamW's second moments have settled by then


@dataclass(frozen=True)
class Optimisation:
    """Settings of the optimizer and its schedule.

    Args:
        lr: Peak learning rate, above 0.
        weight_decay: Decoupled weight decay of weight matrices, at least 0.
        warmup_steps: Optimizer steps of linear warm-up, at least 0; None for a tenth of the run,
            at most 10.
        stretch: Epochs at the end of this stretch of a run, and of the whole run whose schedule it
            follows; None when it is the whole.

    Raises:
        ConfigError: If a value is outside its range.
    """

    lr: float
    weight_decay: float = 1e-4
    warmup_steps: int | None = None
    stretch: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ConfigError(f"lr is {self.lr}; give a learning rate above 0, for example 5e-4.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ConfigError(f"weight_decay is {self.weight_decay}; give a value of at least 0.")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise ConfigError(f"warmup_steps is {self.warmup_steps}; give a count of at least 0.")


def build_optimizer(
    named_parameters: Iterable[tuple[str, nn.Parameter]], settings: Optimisation
) -> torch.optim.AdamW:
    """Make AdamW; biases and norm parameters (one dimension) are not decayed.

    Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization".
    """
    trained = [(name, p) for name, p in named_parameters if p.requires_grad]
    groups = [
        {"params": [p for _, p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for _, p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # One pass over weights, gradients and moments: a sixth of the time of a loop over parameters.
    fused = all(p.device.type in ("cpu", "cuda") for _, p in trained)
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.lr, fused=fused)


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """Return the factor on the peak rate at an optimizer step.

    Linear from ``1/(warmup_steps + 1)`` to 1, then half a cosine down to 0 at ``total_steps``.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def build_schedule(
    optimizer: torch.optim.Optimizer, settings: Optimisation, total_steps: int
) -> LambdaLR:
    """Make the schedule of :func:`warmup_cosine` over a whole run.

    Raises:
        ConfigError: If the warm-up is as long as the run.
    """
    if settings.stretch is not None:
        until, whole = settings.stretch
        total_steps = total_steps // until * whole  # every epoch has as many steps
    warmup = settings.warmup_steps
    if warmup is None:
        warmup = min(LONGEST_DEFAULT_WARMUP, total_steps // 10)
    if warmup >= total_steps:
        raise ConfigError(
            f"warmup_steps is {warmup}, but the run has only {total_steps} optimizer steps. Lower "
            "warmup_steps, set it to null, or raise epochs."
        )
    return LambdaLR(optimizer, lambda step: warmup_cosine(step, warmup, total_steps))


def stepped(optimizer: Optimizer, schedule: LambdaLR) -> OptimizerLRSchedulerConfig:
    """Return what tells Lightning to follow a schedule by optimizer steps."""
    by_step = LRSchedulerConfigType(scheduler=schedule, interval="step", name="lr")
    return {"optimizer": optimizer, "lr_scheduler": by_step}


NAMES = "hyperspec_parameters"  # entry of a checkpoint: names in the optimizer's order


class Moments(pl.Callback):
    """Names the optimizer's parameters in checkpoints, and hands in the state of an earlier run.

    Args:
        carried: Optimizer state by parameter name, from :func:`moments_of`; parameters that it
            lacks start anew. Learning rates and the schedule are this run's own.
    """

    def __init__(self, carried: Mapping[str, Any] | None = None) -> None:
        self.carried = carried

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hand the state in; a checkpoint that the fit goes on from is read later and wins."""
        if self.carried is None:
            return
        optimizer = trainer.optimizers[0]
        names = parameter_names(optimizer, pl_module)
        state = optimizer.state_dict()
        state["state"] = {
            number: self.carried[name] for number, name in enumerate(names) if name in self.carried
        }
        optimizer.load_state_dict(state)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the names."""
        checkpoint[NAMES] = parameter_names(trainer.optimizers[0], pl_module)


def parameter_names(optimizer: Optimizer, module: pl.LightningModule) -> list[str]:
    """Return the names of an optimizer's parameters in its order."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


def moments_of(checkpoint: Mapping[str, Any], without: Collection[str]) -> dict[str, Any]:
    """Return a checkpoint's optimizer state by parameter name, some parameters left out.

    Raises:
        ModelError: If the checkpoint does not name its parameters.
    """
    names = _names(checkpoint)
    state = checkpoint["optimizer_states"][0]["state"]
    return {names[number]: value for number, value in state.items() if names[number] not in without}


def forgetting(checkpoint: Mapping[str, Any], without: Collection[str]) -> list[dict[str, Any]]:
    """Return a checkpoint's ``optimizer_states`` in which some parameters have no state."""
    names = _names(checkpoint)
    (optimizer,) = checkpoint["optimizer_states"]
    kept = {i: value for i, value in optimizer["state"].items() if names[i] not in without}
    return [{**optimizer, "state": kept}]


def _names(checkpoint: Mapping[str, Any]) -> list[str]:
    if NAMES not in checkpoint:
        raise ModelError(
            "The checkpoint does not name its optimizer's parameters: it was written by an earlier "
            "version, and can be continued on its own bands only. Train it anew to go on with "
            "others."
        )
    return list(checkpoint[NAMES])
