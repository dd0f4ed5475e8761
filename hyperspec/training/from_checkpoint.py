"""From the weights of a checkpoint to a module in evaluation mode."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hyperspec.config.plain import from_plain
from hyperspec.config.schema import Train
from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.models.config import PretrainableConfig
from hyperspec.training.builders import assemble
from hyperspec.training.data import Material
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.errors import ModelError


def read_config(checkpoint: Mapping[str, Any], path: Path | str) -> Train:
    """Return the config of the run that wrote a checkpoint.

    Raises:
        ModelError: If the checkpoint carries none.
    """
    plain = checkpoint["hyperspec"].get("config")
    if plain is None:
        raise ModelError(
            f"'{path}' carries no config, so its encoder cannot be rebuilt: it was written by an "
            "earlier version. Train it anew."
        )
    config = from_plain(plain)
    assert isinstance(config, Train)
    return config


def load(
    config: Train,
    material: Material,
    weights: Mapping[str, Any],
    path: Path | str,
    device: torch.device,
    bank: PlaneBank | None = None,
) -> SimCLR:
    """Build a config's module and give it the weights of a checkpoint, in evaluation mode.

    Args:
        config: The config of the run that wrote it.
        material: With the bands that it was trained on.
        weights: Its ``state_dict``.
        path: Its file, for the message.
        device: Where the module lives.
        bank: Gives the planes; by default one is opened.

    Raises:
        ModelError: If the weights do not fit.
    """
    model = config.model
    if isinstance(model, PretrainableConfig) and getattr(model, "norm", "") != "frozen":
        # The checkpoint holds every weight; pretrained ones need not be there. (Frozen
        # normalisation exists with weights only.)
        model = dataclasses.replace(model, weights=None)
    module = assemble(dataclasses.replace(config, model=model), material, device, bank)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"The weights of '{path}' do not fit its own config: {reason}") from error
    module.eval()
    return module
