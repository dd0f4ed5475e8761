"""An encoder that looks through windows of wavelengths one by one, and joins what it saw."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from hyperspec.models.backbones.backbone import Backbone
from hyperspec.models.config import EncoderConfig
from hyperspec.models.encoder import Encoder, build_encoder
from hyperspec.models.heads import ProjectionHead
from hyperspec.models.stems.wavelength import WindowProjection

Windows = Mapping[str, Sequence[int]]
"""Places of each window's bands among the encoder's n bands, by the window's name."""


class WindowBackbone(Backbone):
    """Applies a backbone to each window and fuses their features.

    Its feature map has the windows in front of the channels: ``(B, W, F, h, w)``.

    Args:
        backbones: One per window by its name, or a single one that every window shares.
        windows: Places of each window's channels in the input; None where the input is that of
            :class:`WindowProjection`, k channels per window.
        num_windows: W.
        attention: Fuse by learned weights that sum to 1 (F features) instead of putting the
            windows' features side by side (W F features).

    Source of the attention: Ilse, Tomczak, Welling 2018, "Attention-based Deep Multiple Instance
    Learning", eq. 8, over windows instead of instances.
    """

    def __init__(
        self,
        backbones: OrderedDict[str, Backbone],
        windows: Sequence[Sequence[int]] | None,
        num_windows: int,
        attention: bool,
    ) -> None:
        first = next(iter(backbones.values()))
        width = first.num_features
        channels = sum(len(w) for w in windows) if windows else num_windows * first.in_channels
        stages: OrderedDict[str, nn.Module] = OrderedDict(backbones.items())
        super().__init__(stages, channels, width if attention else num_windows * width)
        self.projected = windows is None
        # On the device before any step. Not in checkpoints: the config says it.
        for number, places in enumerate(windows or ()):
            self.register_buffer(f"places_{number}", torch.tensor(list(places)), persistent=False)
        self.num_windows = num_windows
        self.score = None
        if attention:
            score = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 64), nn.Tanh())
            self.score = score.append(nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # nothing is mixed in
        """Return the windows' feature maps: ``(B, channels, H, W)`` to ``(B, W, F, h, w)``."""
        if self.projected:
            parts = list(x.chunk(self.num_windows, dim=1))
        else:
            places = [self.get_buffer(f"places_{number}") for number in range(self.num_windows)]
            parts = [x.index_select(1, some) for some in places]
        backbones = list(self.stages)
        if len(backbones) == 1:
            return torch.stack(backbones[0](torch.cat(parts)).chunk(len(parts)), dim=1)
        maps = [backbone(part) for backbone, part in zip(backbones, parts, strict=True)]
        return torch.stack(maps, dim=1)

    def window_features(self, feature_map: Tensor) -> Tensor:
        """Return each window's features: ``(B, W, F, h, w)`` to ``(B, W, F)``."""
        backbones = [stage for stage in self.stages if isinstance(stage, Backbone)]
        pooled = [
            backbones[number % len(backbones)].pool(feature_map[:, number])
            for number in range(self.num_windows)
        ]
        return torch.stack(pooled, dim=1)

    def fuse(self, features: Tensor) -> Tensor:
        """Join the windows' features: ``(B, W, F)`` to ``(B, F)`` or ``(B, W F)``."""
        if self.score is None:
            return features.flatten(1)
        shares: Tensor = self.score(features).softmax(dim=1)
        return (shares * features).sum(dim=1)

    def pool(self, feature_map: Tensor) -> Tensor:
        """Return the fused features of the windows' maps."""
        return self.fuse(self.window_features(feature_map))


class WindowHeads(nn.Module):
    """A projection head per window: ``(B, W, F)`` to ``(B, W, D)``."""

    def __init__(self, heads: Sequence[ProjectionHead]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> Tensor:
        """Embed each window by its own head."""
        pairs = zip(self.heads, features.unbind(1), strict=True)
        return torch.stack([head(window) for head, window in pairs], dim=1)


def build_window_encoder(
    config: EncoderConfig,
    wavelengths_nm: ArrayLike,
    windows: Windows,
    fusion: str,
    *,
    fwhm_nm: ArrayLike | None = None,
    checkpoint: bool = False,
) -> Encoder:
    """Build an encoder of windows.

    Args:
        config: The model option; anything but ``towers`` needs ``stem=wavelength``.
        wavelengths_nm: Centres of the n bands in channel order, nanometres, shape ``(n,)``.
        windows: Places of each window's bands.
        fusion: ``towers`` (an encoder per window, features side by side), ``concatenation`` (one
            encoder shared, features side by side) or ``attention`` (one shared, features weighed).
        fwhm_nm: Widths of the bands' responses, nanometres, shape ``(n,)``.
        checkpoint: Recompute the backbones' stages in the backward pass to save memory.
    """
    nm = np.asarray(wavelengths_nm, np.float64)
    widths = None if fwhm_nm is None else np.asarray(fwhm_nm, np.float64)
    places = [list(chosen) for chosen in windows.values()]
    if fusion == "towers":
        towers = [
            build_encoder(
                config,
                nm[chosen],
                fwhm_nm=None if widths is None else widths[chosen],
                checkpoint=checkpoint,
            )
            for chosen in places
        ]
        backbones = OrderedDict(zip(windows, (tower.backbone for tower in towers), strict=True))
    else:
        towers = [build_encoder(config, nm, fwhm_nm=fwhm_nm, checkpoint=checkpoint)]
        backbones = OrderedDict(shared=towers[0].backbone)
    projections = [tower.projection for tower in towers if tower.projection is not None]
    joint = WindowProjection(projections, places, nm.size) if projections else None
    behind = None if projections else places
    backbone = WindowBackbone(backbones, behind, len(places), fusion == "attention")
    if joint is None:
        backbone.in_channels = nm.size  # windows may leave bands out, or share some
    return Encoder(joint, backbone)
