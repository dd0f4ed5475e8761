"""Global and local contrast together: whole views, and cells that show the same place."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hyperspec.losses.checks import check_temperature, check_term_weights
from hyperspec.losses.nt_xent import at_least_float32, contrast
from hyperspec.utils.device_kind import widest_float
from hyperspec.utils.distributed import gather, world


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
    x, y = (
        (torch.arange(count, dtype=inverse.dtype, device=inverse.device) + 0.5) * (size / count)
        - 0.5
        for count in (width, height)
    )
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    places = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).flatten(0, 1)
    mapped: Tensor = places @ inverse.transpose(1, 2)
    return mapped[..., :2]


def cell_size(inverse: Tensor, shape: tuple[int, int], size: int) -> Tensor:
    """Return the side of a square of a cell's area, in pixels of the source image, ``(B,)``.

    The arguments are those of :func:`cell_centres`.
    """
    # Not torch.linalg.det, whose factorisation a GPU answers with an error code.
    stretch = (inverse[:, 0, 0] * inverse[:, 1, 1] - inverse[:, 0, 1] * inverse[:, 1, 0]).abs()
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
    exact = [one.to(widest_float(one.device)) for one in inverse]  # autocast leaves float64 alone
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


class Cells(NamedTuple):
    """Feature maps of both views, and where in the source image they come from."""

    maps: Tensor
    """Embedded cells, shape ``(B, 2, D, h, w)``."""
    inverse: Tensor
    """Maps from view pixels to source pixels, shape ``(B, 2, 3, 3)``, float64."""
    size: int
    """Height and width of the views in pixels."""
    source_size: int
    """Height and width of the source images in pixels."""


class Terms(NamedTuple):
    """A loss and what it is made of."""

    total: Tensor
    """Weighted sum, scalar."""
    whole: Tensor
    """Global term, scalar."""
    local: Tensor
    """Local term, scalar."""
    pairs: Tensor
    """Mean number of paired cells per specimen, scalar."""


class LocalNtXent(nn.Module):
    """NT-Xent over paired cells; the batch's other paired cells are the negatives.

    With ``c_1 ... c_2M`` the cells of the M pairs of the batch (of both views, all specimens and
    all processes), ``s_ij`` their cosine similarity and ``p(i)`` the other cell of a pair::

        loss = 1 / 2M sum_i [ log sum_{j != i} exp(s_ij / τ) - s_ip(i) / τ ]

    Without a pair the loss is 0 and so is its gradient. Under a process group the mean over
    processes is the loss of one process with the whole batch.

    Args:
        temperature: τ, above 0.

    Raises:
        ConfigError: If the temperature is not above 0.

    Source: Wang et al. 2021, "Dense Contrastive Learning for Self-Supervised Visual Pre-Training"
    (DenseCL), eq. 2, with pairs by place and negatives from the batch instead of a queue.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        check_temperature(temperature, "loss.local_temperature")
        self.temperature = temperature

    def forward(self, maps: Tensor, pairs: CellPairs) -> Tensor:
        """Return the loss, a scalar in float32 or wider.

        Args:
            maps: Embedded cells, shape ``(B, 2, D, h, w)``; need not be normalised.
            pairs: Of :func:`pair_cells`, at most K per specimen.
        """
        with torch.autocast(maps.device.type, enabled=False):
            cells = at_least_float32(maps).flatten(3).transpose(2, 3)  # (B, 2, h * w, D)
            z0, z1 = (
                torch.take_along_dim(cells[:, view], chosen[..., None], dim=1).flatten(0, 1)
                for view, chosen in enumerate((pairs.first, pairs.second))
            )
            compared = contrast(z0, z1, self.temperature)
            valid = pairs.valid.flatten()
            everywhere = gather(valid.to(z0.dtype)).flatten()
            negatives = compared.without(compared.itself)
            negatives = negatives.masked_fill(everywhere.repeat(2)[None] == 0, -torch.inf)
            # Rows of filling would have an empty sum, whose gradient is not a number.
            counts = valid.repeat(2)
            negatives = torch.where(counts[:, None], negatives, 0.0)
            terms = torch.where(counts, negatives.logsumexp(1) - compared.positives(), 0.0)
            share = world()[1] / (2 * everywhere.sum()).clamp(min=1)
            return terms.sum() * share

    def extra_repr(self) -> str:
        """Return the temperature, for printing."""
        return f"temperature={self.temperature:g}"


class Combined(nn.Module):
    """``global_weight * global + local_weight * local``.

    Args:
        whole: The global term, a loss of two views' embeddings.
        local: The local term, on cells paired by place.
        global_weight: Finite, at least 0.
        local_weight: Finite, at least 0; not both 0.
        limit: Most pairs of cells per specimen, the nearest ones; None for all. The local term
            compares all pairs of the batch with each other: (2 B K)² similarities.

    Raises:
        ConfigError: If a weight is negative or not finite, or both are 0.
    """

    def __init__(
        self,
        whole: nn.Module,
        local: LocalNtXent,
        global_weight: float = 0.6,
        local_weight: float = 0.4,
        limit: int | None = None,
    ) -> None:
        super().__init__()
        check_term_weights(global_weight, local_weight)
        self.whole, self.local = whole, local
        self.global_weight, self.local_weight = global_weight, local_weight
        self.limit = limit

    def forward(self, z0: Tensor, z1: Tensor, cells: Cells, labels: Tensor | None = None) -> Terms:
        """Return the loss and its terms, of two views' embeddings ``(B, D)`` and their cells.

        ``labels`` ``(B,)`` are for a global term that takes them.
        """
        shape = (cells.maps.shape[3], cells.maps.shape[4])
        inverse = (cells.inverse[:, 0], cells.inverse[:, 1])
        pairs = pair_cells(inverse, shape, cells.size, cells.source_size, self.limit)
        given = () if labels is None else (labels,)
        whole, local = self.whole(z0, z1, *given), self.local(cells.maps, pairs)
        total = self.global_weight * whole + self.local_weight * local
        return Terms(total, whole, local, pairs.valid.sum() / len(pairs.valid))

    def extra_repr(self) -> str:
        """Return the settings, for printing."""
        return (
            f"global_weight={self.global_weight:g}, local_weight={self.local_weight:g}, "
            f"limit={self.limit}"
        )
