"""Views on a CPU straight from the stored planes.

See :mod:`hyperspec.datasets.loading.packed_planes`.

Where stem, normalisation and spectral operations are one linear map per specimen, no float32 batch
of bands is made for the two views of a step.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hyperspec.datasets.loading.packed_planes import StoredPlanes
from hyperspec.datasets.loading.plane_cache import Batch, PlaneBank
from hyperspec.training.embedder import Embedder
from hyperspec.transforms.augment import FoldedView, ViewParams, Views

NUM_VIEWS = 2


def folds(embedder: Embedder, views: Views) -> bool:
    """Say whether factor, normalisation and projection are one product over the bands."""
    return embedder.linear and views.commutes


def streams(embedder: Embedder, views: Views) -> bool:
    """Say whether both views can be projected straight from the planes' narrow type."""
    return folds(embedder, views) and embedder.device.type == "cpu" and not views.reads_pixels


def streamed_views(
    embedder: Embedder, views: Views, batch: Batch, chosen: Tensor
) -> tuple[list[Tensor], list[ViewParams]]:
    """Return both views of some items, ready for the backbone, and what was drawn.

    What :meth:`SimCLR.view` makes one by one, up to rounding. In float32 also under autocast: there
    is little to save on so few channels, and reflectance keeps its digits until the backbone.
    """
    stored, masks = _stored(embedder.bank, batch, chosen)
    with torch.autocast("cpu", enabled=False):
        drawn, folded = [], []
        for _ in range(NUM_VIEWS):
            drawn.append(views.draw(len(stored), device=masks.device))
            folded.append(_fold(embedder, views, drawn[-1]))
        pixels = views.project_views(stored, masks, folded)
        made = [views.warp(z, params) for z, params in zip(pixels, drawn, strict=True)]
    return made, drawn


def _stored(bank: PlaneBank, batch: Batch, chosen: Tensor) -> tuple[StoredPlanes, Tensor]:
    if batch.images is None or batch.masks is None:
        rows = batch.rows[chosen]
        return bank.stored(rows), bank.masks(rows)
    whole = len(chosen) == len(batch.images)
    images = batch.images if whole else batch.images[chosen]
    return StoredPlanes(images, range(len(chosen))), batch.masks[chosen]


def _fold(embedder: Embedder, views: Views, params: ViewParams) -> FoldedView:
    weight, scale, offset = embedder.linear_map()
    if embedder.reduction is None:
        return views.fold(weight, scale, offset, params)
    matrix = embedder.reduction.fold(weight, scale)
    ones, zeros = torch.ones_like(matrix[0]), torch.zeros_like(matrix[0])
    view = views.fold(matrix, ones, zeros, params)
    return replace(view, constant=view.constant + weight @ offset)
