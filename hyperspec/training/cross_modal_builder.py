"""What ``views=cross_modal`` asks of the rest of a config, and the parts that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperspec.transforms.config import CrossModalViews

if TYPE_CHECKING:
    from torch import nn

    from hyperspec.config.schema import Train
    from hyperspec.models.encoder import Encoder
    from hyperspec.training.data import Material


def build_windows(
    config: Train, views: CrossModalViews, material: Material
) -> tuple[Encoder, nn.Module, nn.Module]:
    """Build encoder, heads and loss of a cross-modal run.

    Raises:
        ConfigError: If a window has no chosen band.
    """
    from hyperspec.losses.cross_modal import CrossModalLoss
    from hyperspec.models.cross_modal import WindowBackbone, WindowHeads, build_window_encoder
    from hyperspec.models.heads import build_head

    selection = material.selection
    encoder = build_window_encoder(
        config.model,
        selection.wavelengths_nm,
        views.places(selection.wavelengths_nm.tolist()),
        views.fusion,
        fwhm_nm=selection.fwhm_nm,
        checkpoint=config.hardware.checkpointing,
    )
    backbone = encoder.backbone
    assert isinstance(backbone, WindowBackbone), "made by build_window_encoder"
    fused = backbone.score is not None
    width = backbone.num_features if fused else backbone.num_features // backbone.num_windows
    heads = [
        build_head(config.head, width, unit=config.loss.normalised)
        for _ in range(backbone.num_windows + fused)
    ]
    loss = CrossModalLoss(config.loss.build(), views.intra_weight)
    return encoder, WindowHeads(heads), loss
