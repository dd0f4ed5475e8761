"""Which cells of two views' feature maps show the same place of the specimen."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class CellPairs(NamedTuple):
    """Pairs of cells of two views, one row per specimen; cells count row by row.

    Rows have the same length whatever the overlap, so that processes can exchange them.
    """

    first: Tensor
    """Cells of the first view, int64 ``(B, K)``, nearest pairs in front."""
    second: Tensor
    """Their cells of the second view, int64 ``(B, K)``."""
    valid: Tensor
    """Which of the K are pairs, bool ``(B, K)``; the others are filling."""


def cell_centres(inverse: Tensor, shape: tuple[int, int], size: int) -> Tensor:
    """Return the cells' centres in pixels of the source image.

    A map of h x w cells divides its view evenly: the centre of the cell in row i, column j lies at
    ``x = (j + 1/2) size / w - 1/2``, ``y = (i + 1/2) size / h - 1/2`` in view pixels, whose centres
    count from 0.

    Args:
        inverse: Map from view pixels to source pixels, shape ``(B, 3, 3)``.
        shape: h and w of the feature map.
        size: Height and width of the view in pixels.

    Returns:
        x and y, shape ``(B, h * w, 2)``, in the dtype of ``inverse``.
    """
    height, width = shape
    x = (torch.arange(width).to(inverse) + 0.5) * (size / width) - 0.5
    y = (torch.arange(height).to(inverse) + 0.5) * (size / height) - 0.5
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    places = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).flatten(0, 1)
    mapped: Tensor = places @ inverse.transpose(1, 2)
    return mapped[..., :2]


def cell_size(inverse: Tensor, shape: tuple[int, int], size: int) -> Tensor:
    """Return the side of a square of a cell's area, in pixels of the source image, ``(B,)``.

    Args:
        inverse: Map from view pixels to source pixels, shape ``(B, 3, 3)``.
        shape: h and w of the feature map.
        size: Height and width of the view in pixels.
    """
    stretch: Tensor = torch.linalg.det(inverse[:, :2, :2]).abs()
    return (stretch * (size / shape[0]) * (size / shape[1])).sqrt()


@torch.no_grad()
def pair_cells(
    inverse: tuple[Tensor, Tensor],
    shape: tuple[int, int],
    size: int,
    source_size: int,
    limit: int | None = None,
) -> CellPairs:
    """Pair the cells of two views by where their centres lie in the source image.

    Two cells are a pair if each is the other's nearest and their centres are no further apart than
    one cell, the smaller of the two views' (:func:`cell_size`). Being nearest both ways makes the
    pairs the same whichever view comes first, and no cell is in two. Cells whose centre lies
    outside of the source image show nothing and have no pair; crops that do not overlap have none.

    Args:
        inverse: Maps from the pixels of either view to source pixels, each ``(B, 3, 3)``.
        shape: h and w of the feature maps.
        size: Height and width of the views in pixels.
        source_size: Height and width of the source images in pixels.
        limit: Most pairs of a specimen, the nearest ones; None for all.

    Source: Bardes, Ponce, LeCun 2022, "VICRegL: Self-Supervised Learning of Local Visual
    Features", section 3.2 (location-based matching, the gamma nearest pairs); Wang et al. 2021,
    "Dense Contrastive Learning for Self-Supervised Visual Pre-Training", for the loss on them.
    """
    exact = [one.double() for one in inverse]  # autocast leaves it alone
    first, second = (cell_centres(one, shape, size) for one in exact)
    distance = (first[:, :, None] - second[:, None]).square().sum(-1).sqrt()
    inside = [((c >= -0.5) & (c <= source_size - 0.5)).all(-1) for c in (first, second)]
    distance.masked_fill_(~(inside[0][:, :, None] & inside[1][:, None]), torch.inf)
    nearest, partner = distance.min(dim=2)
    back = distance.argmin(dim=1).gather(1, partner)
    reach = torch.minimum(*(cell_size(one, shape, size) for one in exact))[:, None]
    place = torch.arange(nearest.shape[1], device=nearest.device)
    paired = (back == place) & (nearest <= reach)
    # Stable: equal distances (no warp at all) keep one order on every machine.
    order = nearest.masked_fill(~paired, torch.inf).sort(dim=1, stable=True).indices[:, :limit]
    return CellPairs(order, partner.gather(1, order), paired.gather(1, order))
