"""The encoder: a stem that takes n bands, then a backbone."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hyperspec.models.backbones.backbone import Backbone, build_backbone
from hyperspec.models.config import EncoderConfig, PretrainableConfig
from hyperspec.models.stems.concrete import ConcreteSelector, SelectedProjection
from hyperspec.models.stems.projection import Projection, projection_centres, smooth_projection
from hyperspec.models.stems.wavelength import BandAttention, WavelengthProjection, WindowProjection
from hyperspec.utils.device_kind import kind_of

LinearStem = Projection | WavelengthProjection | SelectedProjection | WindowProjection


class Encoder(nn.Module):
    """Bands in, features out, in two halves so that a warp can act between them.

    ``projects`` tells whether the first half is a linear 1x1 convolution without bias. It then
    commutes with crops, flips, rotations and blurs, and these may act on the few channels behind
    it: ``features(warp(project(x)))`` equals ``forward(warp(x))`` up to rounding. Where it widens
    instead (``composes``), ``features`` also takes what was not projected: ``features(warp(x))``.

    Args:
        projection: The 1x1 projection, or None for a stem inside the backbone.
        backbone: Takes the projection's channels, or the bands themselves.
    """

    def __init__(self, projection: LinearStem | None, backbone: Backbone) -> None:
        super().__init__()
        self.projection, self.backbone = projection, backbone

    @property
    def projects(self) -> bool:
        """Whether :meth:`project` reduces the bands, and warps may act behind it."""
        return self.projection is not None

    @property
    def num_bands(self) -> int:
        """Bands n that the encoder takes."""
        return self.backbone.in_channels if self.projection is None else self.projection.num_bands

    @property
    def num_features(self) -> int:
        """Width F of the features."""
        return self.backbone.num_features

    @property
    def projection_weight(self) -> Tensor | None:
        """Weight of the projection, shape ``(k, n)``, for folding a normalisation into it."""
        return None if self.projection is None else self.projection.weight

    @property
    def composes(self) -> bool:
        """Whether the projection widens, and is better multiplied into the first convolution.

        With fewer bands than channels the convolution has less to do on the bands themselves, no
        gradient at the pixels is needed, and the warp acts on fewer channels, too. On a CPU: a
        GPU's kernels want numbers of channels that are multiples of 8. A compiled backbone keeps
        one number of channels for all jobs.
        """
        return (
            isinstance(self.projection, Projection | WavelengthProjection)
            and self.num_bands < self.backbone.in_channels
            and kind_of(next(self.projection.parameters()).device) == "cpu"
            and not self.backbone.is_compiled
        )

    @property
    def weight_before_warp(self) -> Tensor | None:
        """Weight of the linear map in front of a warp, for folding a normalisation into it.

        That of the projection, shape ``(k, n)``; the identity, ``(n, n)``, where it
        :attr:`composes`; None without one.
        """
        if self.projection is None or not self.composes:
            return self.projection_weight
        return torch.eye(self.num_bands, dtype=next(self.projection.parameters()).dtype)

    def project(self, x: Tensor) -> Tensor:
        """Return the projected channels, or the bands themselves if there is no projection.

        From ``(B, n, H, W)`` to ``(B, k, H, W)``.
        """
        if self.projection is None:
            return x
        projected: Tensor = self.projection(x)
        return projected

    def feature_map(self, projected: Tensor) -> Tensor:
        """Return the map ``(B, F, h, w)`` of what :meth:`project` gave.

        Args:
            projected: Shape ``(B, k, H, W)``; where the projection :attr:`composes` also bands that
                were not projected, ``(B, n, H, W)``.
        """
        result: Tensor
        if self.composes and projected.shape[1] == self.num_bands:
            result = self.backbone(projected, self.projection_weight)
        else:
            result = self.backbone(projected)
        return result

    def pool(self, feature_map: Tensor) -> Tensor:
        """Return the features ``(B, F)`` of a feature map, for losses that need both."""
        return self.backbone.pool(feature_map)

    def features(self, projected: Tensor) -> Tensor:
        """Return the features ``(B, F)`` of what :meth:`project` gave."""
        return self.pool(self.feature_map(projected))

    def on_wavelengths(self, wavelengths_nm: ArrayLike, fwhm_nm: ArrayLike | None) -> Encoder:
        """Return this encoder on other bands; all parameters are shared, this one stays as it is.

        Centres and widths ``(n,)`` are in nanometres; no widths stand for narrow bands.

        Raises:
            TypeError: If its weights belong to its own bands: it has no ``stem=wavelength``.
        """
        shared = {id(part): part for part in (self.backbone, *self.parameters())}
        other = copy.deepcopy(self, shared)
        if not isinstance(other.projection, WavelengthProjection):
            raise TypeError("Only stem=wavelength takes any bands.")
        other.projection.set_wavelengths(wavelengths_nm, fwhm_nm)
        return other

    def forward(self, x: Tensor) -> Tensor:
        """Return the features: ``(B, n, H, W)`` to ``(B, F)``."""
        return self.features(self.project(x))


def build_encoder(
    config: EncoderConfig,
    wavelengths_nm: ArrayLike,
    *,
    fwhm_nm: ArrayLike | None = None,
    checkpoint: bool = False,
) -> Encoder:
    """Build the encoder of a model option for given bands.

    With pretrained weights the projection starts as averages around k evenly spread wavelengths
    and the first convolution as the colour kernels at those wavelengths, so that a flat spectrum
    gets the pretrained response; without, both start at random. ``stem=wavelength`` always starts
    at random.

    Args:
        config: The model option.
        wavelengths_nm: Centres of the n bands in channel order, nanometres, shape ``(n,)``.
        fwhm_nm: Widths of their responses, nanometres, shape ``(n,)``, which ``stem=wavelength``
            reads; None for narrow ones.
        checkpoint: Recompute the backbone's stages in the backward pass to save memory.

    Raises:
        ModelError: If the weights cannot be read or do not fit.
    """
    nm = np.asarray(wavelengths_nm, dtype=np.float64)
    channels = config.projection_channels
    if channels is None:
        return Encoder(None, build_backbone(config, nm, checkpoint))
    backbone = build_backbone(config, projection_centres(nm, channels), checkpoint)
    if config.stem == "wavelength":
        return Encoder(WavelengthProjection(nm, channels, fwhm_nm), backbone)
    if config.stem == "attention":
        attention = BandAttention(nm.size, channels)
        _start(attention.projection, config, nm)
        backbone.prepend("attention", attention, nm.size)
        return Encoder(None, backbone)
    projection = Projection(nm.size, channels)
    _start(projection, config, nm)
    return Encoder(projection, backbone)


def build_search_encoder(
    config: EncoderConfig,
    wavelengths_nm: ArrayLike,
    n: int,
    *,
    fwhm_nm: ArrayLike | None = None,
    checkpoint: bool = False,
) -> Encoder:
    """Build an encoder of n channels behind n concrete selectors, 1 to C, over all C bands.

    Stems that start from wavelengths take n spread evenly, as the chosen ones are not yet
    known. The arguments are those of :func:`build_encoder`, for all bands.

    Raises:
        ModelError: If the weights cannot be read or do not fit.
    """
    nm = np.asarray(wavelengths_nm, dtype=np.float64)
    inner = build_encoder(config, projection_centres(nm, n), checkpoint=checkpoint)
    stem = inner.projection
    assert stem is None or isinstance(stem, Projection | WavelengthProjection)
    selector = ConcreteSelector(n, nm.size)
    return Encoder(SelectedProjection(selector, stem, nm, fwhm_nm), inner.backbone)


@torch.no_grad()
def carry_over(trained: Encoder, fresh: Encoder, order: ArrayLike) -> None:
    """Give an encoder of the chosen bands the weights of the one that has chosen them.

    Args:
        trained: From :func:`build_search_encoder`, trained.
        fresh: From :func:`build_encoder` for the n chosen bands; changed in place.
        order: Selector of each channel of ``fresh``, shape ``(n,)``.
    """
    weights = {}
    for name, value in trained.state_dict().items():
        if not name.startswith("projection.selector."):
            weights[name.replace("projection.stem.", "projection.", 1)] = value
    fresh.load_state_dict(weights)
    rows = torch.as_tensor(np.asarray(order), device=next(fresh.parameters()).device)
    if isinstance(fresh.projection, Projection):
        fresh.projection.weight.copy_(fresh.projection.weight[:, rows])
    if fresh.projection is not None:
        return
    first = next(iter(fresh.backbone.stages))
    if isinstance(first, BandAttention):
        for layer in (first.squeeze, first.projection):
            layer.weight.copy_(layer.weight[:, rows])
        for values in (first.excite.weight, first.excite.bias):
            values.copy_(values[rows])
        return
    convolution = next(m for m in first.modules() if isinstance(m, torch.nn.Conv2d))
    convolution.weight.copy_(convolution.weight[:, rows])


def _start(projection: Projection, config: EncoderConfig, nm: NDArray[np.float64]) -> None:
    """Start a projection in front of pretrained weights so that flat spectra stay flat."""
    if isinstance(config, PretrainableConfig) and config.weights is not None:
        smooth = smooth_projection(nm, projection.channels)
        projection.weight.data.copy_(torch.from_numpy(smooth))
