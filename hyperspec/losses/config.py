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
    unit_embeddings: ClassVar[bool] = True
    """Whether the loss compares unit vectors; else the head must not normalise its output."""

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
    queue_size: int = 0
    """Embeddings of earlier steps that serve as further negatives; 0 for none."""

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_queue_size(self.queue_size)

    def build(self) -> nn.Module:
        """Return :class:`hyperspec.losses.NtXent`."""
        from hyperspec.losses.contrastive import NtXent

        return NtXent(self.temperature, self.queue_size)


@dataclass
class DclConfig(LossConfig):
    """NT-Xent with the positive taken out of the denominator (Yeh et al. 2022)."""

    name: ClassVar[str] = "dcl"

    temperature: float = 0.1
    """Divides the cosine similarities, above 0; 0.05 to 0.2 are usual."""

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def build(self) -> nn.Module:
        """Return :class:`hyperspec.losses.Dcl`."""
        from hyperspec.losses.contrastive import Dcl

        return Dcl(self.temperature)


@dataclass
class VicRegConfig(LossConfig):
    """Invariance, variance and covariance terms instead of negatives (Bardes et al. 2022)."""

    name: ClassVar[str] = "vicreg"
    unit_embeddings: ClassVar[bool] = False

    invariance: float = 25.0
    """Weight of the squared distance between the two views, at least 0."""
    variance: float = 25.0
    """Weight of the hinge that keeps each dimension's standard deviation above 1, at least 0."""
    covariance: float = 1.0
    """Weight of the squared covariances between dimensions, at least 0."""

    def __post_init__(self) -> None:
        check_weights(self.invariance, self.variance, self.covariance)

    def build(self) -> nn.Module:
        """Return :class:`hyperspec.losses.VicReg`."""
        from hyperspec.losses.vicreg import VicReg

        return VicReg(self.invariance, self.variance, self.covariance)


def check_queue_size(queue_size: int) -> None:
    """Raise :class:`ConfigError` if the queue's size is below 0."""
    if queue_size < 0:
        raise ConfigError(
            f"loss.queue_size={queue_size} is out of range: use 0 for no queue, or the number of "
            "earlier embeddings to remember."
        )


def check_weights(invariance: float, variance: float, covariance: float) -> None:
    """Raise :class:`ConfigError` unless VICReg's weights are finite and at least 0."""
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(
                f"loss.{name}={weight:g} is out of range: it weighs a term of the loss, so use a "
                "finite number of at least 0 (the paper's are 25, 25 and 1)."
            )


def check_temperature(temperature: float) -> None:
    """Raise :class:`ConfigError` unless the temperature is finite and above 0."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(
            f"loss.temperature={temperature:g} is out of range: similarities are divided by it, so "
            "use a finite number above 0, usually 0.05 to 0.2."
        )
