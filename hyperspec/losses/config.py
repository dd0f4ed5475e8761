"""Options of the config group ``loss``: plain values, checked when they are made, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hyperspec.spectra.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


@dataclass
class LossConfig:
    """Base of the options: each builds the module that compares two views' embeddings."""

    name: ClassVar[str] = ""

    def build(self) -> nn.Module:
        """Return the loss, a module that takes two embeddings ``(B, D)`` and gives a scalar."""
        raise ConfigError(
            f"loss={type(self).__name__} is the base of the options; choose one of them."
        )


@dataclass
class NtXentConfig(LossConfig):
    """SimCLR's loss (Chen et al. 2020, eq. 1)."""

    name: ClassVar[str] = "nt_xent"

    temperature: float = 0.1
    """Divides the cosine similarities, above 0; 0.05 to 0.2 are usual."""

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def build(self) -> nn.Module:
        """Return :class:`hyperspec.losses.NtXent`."""
        from hyperspec.losses.contrastive import NtXent

        return NtXent(self.temperature)


def check_temperature(temperature: float) -> None:
    """Raise :class:`ConfigError` unless the temperature is finite and above 0."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(
            f"loss.temperature={temperature:g} is out of range: similarities are divided by it, so "
            "use a finite number above 0, usually 0.05 to 0.2."
        )
