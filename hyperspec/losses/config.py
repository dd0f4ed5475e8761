"""Options of the config group ``loss``: plain values, checked when they are made, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

from hyperspec.losses.checks import (
    check_queue_size,
    check_temperature,
    check_term_weights,
    check_weights,
)
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import check_range
from hyperspec.utils.registry import add_option

if TYPE_CHECKING:
    from torch import nn


@dataclass
class LossConfig:
    """Base of the options: each builds the module that compares two views' embeddings."""

    name: ClassVar[str] = ""
    unit_embeddings: ClassVar[bool] = True
    """Whether the loss compares unit vectors; else the head must not normalise its output."""
    takes_labels: ClassVar[bool] = False
    """Whether labels of the training part go into the loss, -1 for images without one."""

    @property
    def normalised(self) -> bool:
        """Whether the head must L2-normalise its output."""
        return self.unit_embeddings

    @property
    def supervised(self) -> bool:
        """Whether the module takes the codes of the images' labels, too: ``labels=`` ``(B,)``."""
        return self.takes_labels

    def build(self) -> nn.Module:
        """Return the loss, a module that takes two embeddings ``(B, D)`` and gives a scalar."""
        raise ConfigError(
            f"loss={type(self).__name__} is the base of the options; choose one of them."
        )


_Kind = TypeVar("_Kind", bound=type[LossConfig])

OPTIONS: dict[str, type[LossConfig]] = {}
"""Every option of the config group ``loss`` by name, also those that plug-ins add."""


def register(kind: _Kind) -> _Kind:
    """Add a loss, so that ``loss=NAME`` chooses it; a class decorator.

    Args:
        kind: A dataclass below :class:`LossConfig` with a ``name`` and :meth:`LossConfig.build`.

    Raises:
        ConfigError: If it is none, or its name is taken.
    """
    return add_option(OPTIONS, "loss", kind, LossConfig, "build")


@register
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
        from hyperspec.losses.nt_xent import NtXent

        return NtXent(self.temperature, self.queue_size)


@register
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
        from hyperspec.losses.nt_xent import Dcl

        return Dcl(self.temperature)


@register
@dataclass
class SupConConfig(LossConfig):
    """NT-Xent in which images of one label attract each other, too (Khosla et al. 2020, L_out)."""

    name: ClassVar[str] = "supcon"
    takes_labels: ClassVar[bool] = True

    temperature: float = 0.1
    """Divides the cosine similarities, above 0; 0.05 to 0.2 are usual."""

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def build(self) -> nn.Module:
        """Return :class:`hyperspec.losses.SupCon`."""
        from hyperspec.losses.supcon import SupCon

        return SupCon(self.temperature)


@register
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


@register
@dataclass
class CombinedConfig(LossConfig):
    """A global term on whole views and a local one on cells that show the same place."""

    name: ClassVar[str] = "combined"

    global_loss: LossConfig = field(default_factory=LossConfig)
    """The global term: ``nt_xent`` (the default), ``dcl``, ``supcon`` or ``vicreg``, chosen by
    ``loss/global_loss=...``."""
    global_weight: float = 0.6
    """Weight of the global term, at least 0; not both weights 0."""
    local_weight: float = 0.4
    """Weight of the local term, at least 0; not both weights 0."""
    local_temperature: float = 0.1
    """Divides the local term's cosine similarities, above 0."""
    local_pairs: int | None = 16
    """Most pairs of cells per specimen, the nearest ones (VICRegL keeps 20); null for all. Time and
    memory of the local term grow with the square of batch_size times this number."""
    local_hidden: int | None = None
    """Hidden width of the local projection head (1x1 convolutions), 1 to 16384; null takes the
    encoder's feature width."""
    local_dim: int = 128
    """Width of the embedded cells, 2 to 8192."""

    def __post_init__(self) -> None:
        if type(self.global_loss) is LossConfig:  # the base stands for "not chosen" in a config
            self.global_loss = NtXentConfig()
        if isinstance(self.global_loss, CombinedConfig):
            raise ConfigError(
                "loss.global_loss is combined itself; choose nt_xent, dcl, supcon or vicreg for it."
            )
        check_term_weights(self.global_weight, self.local_weight)
        check_temperature(self.local_temperature, "loss.local_temperature")
        widths = {"local_hidden": (1, 16384), "local_dim": (2, 8192), "local_pairs": (1, 2**20)}
        for name, (low, high) in widths.items():
            if (value := getattr(self, name)) is not None:
                check_range(f"loss.{name}", value, low, high)

    @property
    def normalised(self) -> bool:
        """Whether the head must L2-normalise its output; the global term tells."""
        return self.global_loss.normalised

    @property
    def supervised(self) -> bool:
        """Whether the global term takes labels; the local one compares places, not images."""
        return self.global_loss.supervised

    def build(self) -> nn.Module:
        """Return :class:`hyperspec.losses.Combined`."""
        from hyperspec.losses.dense import Combined, LocalNtXent

        return Combined(
            self.global_loss.build(),
            LocalNtXent(self.local_temperature),
            self.global_weight,
            self.local_weight,
            self.local_pairs,
        )
