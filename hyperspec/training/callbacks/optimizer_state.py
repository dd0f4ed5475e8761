"""An optimizer's state by parameter name, so that it outlives a change of some parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytorch_lightning as pl
from torch.optim import Optimizer

from hyperspec.utils.errors import ModelError

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
