"""Views and features on a CPU straight from the stored planes.

See :mod:`hyperspec.datasets.loading.packed_planes`.

Where stem, normalisation and spectral operations are one linear map per specimen, no float32 batch
of bands is made: neither for the two views of a step, nor for features of whole specimens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hyperspec.datasets.loading.batch import Batch
from hyperspec.datasets.loading.packed_planes import StoredPlanes, project_stored
from hyperspec.transforms.augment import FoldedView, ViewParams

if TYPE_CHECKING:
    from hyperspec.training.simclr import SimCLR

NUM_VIEWS = 2


def streams(module: SimCLR) -> bool:
    """Say whether both views can be projected straight from the planes' narrow type."""
    return module.folds and module.device.type == "cpu" and not module.views.reads_pixels


def streamed_views(
    module: SimCLR, batch: Batch, chosen: Tensor
) -> tuple[list[Tensor], list[ViewParams]]:
    """Return both views of some items, ready for the backbone, and what was drawn.

    What :meth:`SimCLR.view` makes one by one, up to rounding. In float32 also under autocast: there
    is little to save on so few channels, and reflectance keeps its digits until the backbone.
    """
    stored, masks = _stored(module, batch, chosen)
    with torch.autocast("cpu", enabled=False):
        drawn, folded = [], []
        for _ in range(NUM_VIEWS):
            drawn.append(module.views.draw(len(stored), device=masks.device))
            folded.append(_fold(module, drawn[-1]))
        pixels = module.views.project_views(stored, masks, folded)
        made = [module.views.warp(z, params) for z, params in zip(pixels, drawn, strict=True)]
    return made, drawn


def streamed_features(module: SimCLR, rows: Tensor) -> Tensor:
    """Return features of specimens of the bank without augmentation, shape ``(B, F)``."""
    weight, (scale, offset) = _linear(module)
    reduction, count = module.reduction, len(rows)
    stored, masks = module.bank.stored(rows), module.bank.masks(rows)
    with torch.autocast("cpu", enabled=False):
        matrix = weight * scale if reduction is None else reduction.fold(weight, scale)
        constant = (weight @ offset).expand(count, -1)
        pixels = project_stored(matrix.expand(count, -1, -1), constant, stored)
    return module.encoder.features(pixels.view(count, -1, *masks.shape[2:]) * masks)


def _stored(module: SimCLR, batch: Batch, chosen: Tensor) -> tuple[StoredPlanes, Tensor]:
    if batch.images is None or batch.masks is None:
        rows = batch.rows[chosen]
        return module.bank.stored(rows), module.bank.masks(rows)
    whole = len(chosen) == len(batch.images)
    images = batch.images if whole else batch.images[chosen]
    return StoredPlanes(images, range(len(chosen))), batch.masks[chosen]


def _linear(module: SimCLR) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    affine, weight = module.normalisation.per_band_affine, module.encoder.weight_before_warp
    assert affine is not None, "only where `streams` says so"
    assert weight is not None, "only where `streams` says so"
    return weight, affine


def _fold(module: SimCLR, params: ViewParams) -> FoldedView:
    weight, (scale, offset) = _linear(module)
    if module.reduction is None:
        return module.views.fold(weight, scale, offset, params)
    matrix = module.reduction.fold(weight, scale)
    ones, zeros = torch.ones_like(matrix[0]), torch.zeros_like(matrix[0])
    view = module.views.fold(matrix, ones, zeros, params)
    return replace(view, constant=view.constant + weight @ offset)
