"""Options of the config groups ``model`` and ``head``: plain values, checked when they are made.

Nothing here imports torch, so that composing a config and completing a command stay quick. Each
option is its own dataclass; a field that makes no sense for it does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import check_range
from hyperspec.utils.registry import add_option

if TYPE_CHECKING:
    from collections import OrderedDict

    from numpy.typing import ArrayLike
    from torch import nn

STEMS = ("projection", "inflate", "wavelength", "attention")
PROJECTING = ("projection", "wavelength", "attention")  # n bands become k channels
PROJECTION_CHANNELS = 32  # methods.md: 0.7 instead of 16 GMAC at 408 bands and 224 px


@dataclass
class HeadConfig:
    """Projection head: Linear-BN-ReLU-Linear-BN, L2-normalised (config key ``head``)."""

    hidden: int | None = None
    """Width of the hidden layer, 1 to 16384; null takes the encoder's feature width (SimCLR)."""
    dim: int = 128
    """Width D of the embedding that the loss sees, 2 to 8192."""

    def __post_init__(self) -> None:
        if self.hidden is not None:
            check_range("head.hidden", self.hidden, 1, 16384)
        check_range("head.dim", self.dim, 2, 8192)


@dataclass
class EncoderConfig:
    """What every encoder has: a name and a stem that takes n bands."""

    names: ClassVar[tuple[str, ...]] = ()

    name: str = ""
    """Which backbone."""
    stem: str = "projection"
    """``projection`` (1x1 convolution n to k in front), ``inflate`` (first convolution widened to
    n channels), ``wavelength`` (projection generated from each band's nm: the same weights for any
    set of bands) or ``attention`` (bands weighed by squeeze and excitation, then projected)."""
    stem_channels: int | None = None
    """k, the channels behind the stem, 1 to 1024; null is 32. Null for ``stem=inflate``."""
    sampling_minimum: int | None = field(default=None, kw_only=True)
    """With ``stem=wavelength``: every training step sees a random subset of the bands, this many at
    least, so that one encoder serves any number of them; null trains on all. 1 to 1024."""

    def __post_init__(self) -> None:
        if self.sampling_minimum is not None:
            check_range("model.sampling_minimum", self.sampling_minimum, 1, 1024)
            if self.stem != "wavelength":
                raise ConfigError(
                    f"model.sampling_minimum={self.sampling_minimum} trains on other bands every "
                    f"step, but the weights of model.stem={self.stem} belong to its own. Set "
                    "model.stem=wavelength, or model.sampling_minimum=null."
                )
        check_choice("model.name", self.name, self.names)
        check_choice("model.stem", self.stem, STEMS)
        if self.stem_channels is not None:
            check_range("model.stem_channels", self.stem_channels, 1, 1024)
            if self.stem not in PROJECTING:
                raise ConfigError(
                    f"model.stem_channels={self.stem_channels} has no meaning with "
                    f"model.stem={self.stem}, which feeds the bands to the first convolution "
                    "directly. Leave it null, or set model.stem=projection."
                )

    @property
    def projection_channels(self) -> int | None:
        """Channels behind the stem; None for ``inflate``, which has no projection."""
        if self.stem not in PROJECTING:
            return None
        return PROJECTION_CHANNELS if self.stem_channels is None else self.stem_channels

    def build_stages(self, wavelengths_nm: ArrayLike) -> tuple[OrderedDict[str, nn.Module], int]:
        """Build the backbone behind the stem, for channels at wavelengths in nanometres.

        Returns:
            Named stages that run in order and end in a map ``(B, F, h, w)``, and F. One named
            ``after_pool`` acts on the pooled features ``(B, F)`` instead.

        Raises:
            ModelError: If weights cannot be read or do not fit.
        """
        raise ConfigError(
            f"model.name={self.name} ({type(self).__name__}) has no build_stages, so no backbone."
        )


@dataclass
class TinyConfig(EncoderConfig):
    """Three 3x3 convolutions for demos and tests, about 0.13 million parameters."""

    names: ClassVar[tuple[str, ...]] = ("tiny",)

    name: str = "tiny"
    """Always ``tiny``."""
    norm: str = "batch"
    """``batch``, or ``group`` (exact in micro-batches). A group's statistics span the background
    too: in a trial of 100 steps on masked specimens ``batch`` reached 1.0 where ``group`` reached
    0.9."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("model.norm", self.norm, ("batch", "group"))

    def build_stages(self, wavelengths_nm: ArrayLike) -> tuple[OrderedDict[str, nn.Module], int]:
        """Build three convolutions."""
        from hyperspec.models.backbones.tiny import tiny

        return tiny(wavelengths_nm, self.norm)


@dataclass
class PretrainableConfig(EncoderConfig):
    """A torchvision backbone, with or without pretrained weights."""

    weights: str | None = field(default=None, metadata={"content": True})
    """null (random start), ``DEFAULT`` (torchvision's current best for this backbone, through the
    torch hub cache) or the path of a state dict in torchvision's naming."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is not None and not self.weights.strip():
            raise ConfigError(
                "model.weights is empty: use null for a random start, DEFAULT or a path."
            )


@dataclass
class ResNetConfig(PretrainableConfig):
    """Residual networks (He et al. 2016)."""

    names: ClassVar[tuple[str, ...]] = ("resnet18", "resnet34", "resnet50")

    name: str = "resnet18"
    """``resnet18``, ``resnet34`` (512 features) or ``resnet50`` (2048 features)."""
    norm: str = "batch"
    """``batch``, ``group`` (exact in micro-batches) or, with weights, ``frozen`` (their
    statistics stay as they are; exact in micro-batches too)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("model.norm", self.norm, ("batch", "group", "frozen"))
        if self.norm == "frozen" and self.weights is None:
            raise ConfigError(
                "model.norm=frozen keeps the normalisation statistics of pretrained weights, but "
                "model.weights is null. Set model.weights=DEFAULT or a path, or take "
                "model.norm=group."
            )

    def build_stages(self, wavelengths_nm: ArrayLike) -> tuple[OrderedDict[str, nn.Module], int]:
        """Build a ResNet."""
        from hyperspec.models.backbones.torchvision import resnet

        return resnet(wavelengths_nm, self.name, self.weights, self.norm)


@dataclass
class ConvNextConfig(PretrainableConfig):
    """ConvNeXt (Liu et al. 2022); LayerNorm throughout, so micro-batches are exact."""

    names: ClassVar[tuple[str, ...]] = ("convnext_tiny",)

    name: str = "convnext_tiny"
    """``convnext_tiny`` (768 features)."""

    def build_stages(self, wavelengths_nm: ArrayLike) -> tuple[OrderedDict[str, nn.Module], int]:
        """Build a ConvNeXt."""
        from hyperspec.models.backbones.torchvision import convnext

        return convnext(wavelengths_nm, self.name, self.weights)


@dataclass
class VitConfig(PretrainableConfig):
    """Vision transformer (Dosovitskiy et al. 2021); LayerNorm, so micro-batches are exact.

    Takes square images whose side is a multiple of 16; features are the mean of the patch tokens.
    """

    names: ClassVar[tuple[str, ...]] = ("vit_b_16",)

    name: str = "vit_b_16"
    """``vit_b_16`` (768 features)."""

    def build_stages(self, wavelengths_nm: ArrayLike) -> tuple[OrderedDict[str, nn.Module], int]:
        """Build a vision transformer."""
        from hyperspec.models.backbones.torchvision import vit

        return vit(wavelengths_nm, self.name, self.weights)


OPTIONS: dict[str, type[EncoderConfig]] = {
    "tiny": TinyConfig,
    "resnet": ResNetConfig,
    "convnext": ConvNextConfig,
    "vit": VitConfig,
}
"""Every option of the config group ``model``, also those that plug-ins add; `resnet` stands for
resnet18, 34 and 50."""
_OWN_NAMES = {name for kind in OPTIONS.values() for name in kind.names}
_Kind = TypeVar("_Kind", bound=type[EncoderConfig])


def register(kind: _Kind) -> _Kind:
    """Add an encoder, so that ``model=NAME`` chooses it; a class decorator.

    Args:
        kind: A dataclass below :class:`EncoderConfig` whose field ``name`` has a default, with
            :meth:`EncoderConfig.build_stages`. Its ``names`` is that name if it has none.

    Raises:
        ConfigError: If it is none, or its name is taken.
    """
    if getattr(kind, "name", "") in _OWN_NAMES:
        raise ConfigError(f"model={kind.name} is the package's own; give {kind} another name.")
    add_option(OPTIONS, "model", kind, EncoderConfig, "build_stages")
    if kind.name not in kind.names:
        kind.names = (kind.name,)
    return kind


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise :class:`ConfigError` naming the dotted key if the value is none of the choices."""
    if value not in choices:
        raise ConfigError(f"{key}={value} is not known: choose {', '.join(choices)}.")
