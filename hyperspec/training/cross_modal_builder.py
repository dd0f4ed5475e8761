"""What ``views=cross_modal`` asks of the rest of a config, and the parts that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperspec.bands import Binned, Learned, ProjectionStrategy
from hyperspec.losses.config import CombinedConfig
from hyperspec.transforms.config import CrossModalViews
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from hyperspec.config.schema import Train
    from hyperspec.models.encoder import Encoder
    from hyperspec.training.data import Material


def check_cross_modal(config: Train) -> None:
    """Refuse what cannot be combined with ``views=cross_modal``; do nothing with other views.

    Raises:
        ConfigError: If something else of the config contradicts it.
    """
    views, bands, loss = config.views, config.bands, config.loss
    if not isinstance(views, CrossModalViews):
        return
    problem = ""
    if isinstance(bands, Learned) or (
        isinstance(bands, ProjectionStrategy) and not isinstance(bands, Binned)
    ):
        problem = f"bands={bands.name} has no bands beforehand that would lie in a window of nm"
    elif config.schedule:
        problem = "schedule grows one encoder of all bands, not one of windows"
    elif config.evaluation.curve_strategies:
        problem = "evaluation.curve_strategies takes one encoder to other bands, not one of windows"
    elif isinstance(loss, CombinedConfig):
        problem = "loss=combined compares places in the image, not windows; take its global term"
    elif getattr(loss, "queue_size", 0):
        problem = "loss.queue_size would mix the embeddings of different windows; set it to 0"
    elif getattr(config.model, "sampling_minimum", None) is not None:
        problem = "model.sampling_minimum may leave a window without a band; set it to null"
    elif views.fusion != "towers" and config.model.stem != "wavelength":
        problem = (
            f"views.fusion={views.fusion} lets all windows share one encoder, whose weights must "
            f"fit any bands: set model.stem=wavelength instead of {config.model.stem}, or "
            "views.fusion=towers"
        )
    if problem:
        raise ConfigError(f"views=cross_modal does not go with this config: {problem}.")


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
