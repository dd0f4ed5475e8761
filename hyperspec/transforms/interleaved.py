"""Views of all bands with the bands of a pixel beside each other, specimen by specimen on a CPU.

A warp of planes gathers four single numbers per band and pixel. With the bands of a pixel beside
each other it adds four rows of memory per pixel, weighted, which is what ``embedding_bag`` does.
Turning a block of bands and what else is done to it happen in the cache, and no batch of bands lies
between the spectral part of a view and its warp.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812  # the name that torch's own documentation uses
from torch import Tensor

from hyperspec.transforms.noise import NoiseSource
from hyperspec.transforms.sampler import ViewParams
from hyperspec.transforms.spatial import blur_matrices, neighbours
from hyperspec.transforms.spectral import BandMap

# Fewer bands of float32 gain nothing by being turned (measured on one core, 50 bands).
LEAST_BANDS = 64
# A Gaussian this far out is 1.5e-8 of its height: below the last digit of float32.
REACH_SIGMAS = 6
PART = 32  # lines that are blurred together


def pays(x: Tensor) -> bool:
    """Whether images are worth it: many bands, or half precision, which is widened by blocks.

    There is no way back for gradients at the pixels.
    """
    return not x.requires_grad and (x.shape[1] >= LEAST_BANDS or x.dtype.itemsize == 2)


def interleaved(
    x: Tensor,
    bands: BandMap,
    mask: Tensor | None,
    params: ViewParams,
    noise: NoiseSource,
    noise_sd: Tensor | None,
    size: int,
    blur_sigma_px: float,
) -> Tensor:
    """Return the views of images ``(B, n, S, S)``: spectral map, noise, mask, warp and blur.

    In float32 (float64 for such images) up to the blur, which is in their own type.

    Args:
        x: Images.
        bands: What is done to their spectra.
        mask: Foreground, shape ``(B, 1, S, S)``, or None for every pixel.
        params: What was drawn.
        noise: Gives numbers from its bank.
        noise_sd: Level per band, shape ``(n,)``; None without noise.
        size: Of the views.
        blur_sigma_px: Largest blur that may be drawn, in pixels.

    Returns:
        Shape ``(B, n, size, size)``, ``channels_last``, in the dtype of ``x``.
    """
    batch, count, source_size = x.shape[:3]
    work = torch.float64 if x.dtype == torch.float64 else torch.float32
    index, weight = neighbours(params.theta.to(work), source_size, size)
    inside = None if mask is None else mask.flatten(2).to(work)
    made = torch.empty(batch, size * size, count, dtype=x.dtype)
    for row, blocks in enumerate(noise.places(batch, count, params.noise_seed)):
        image = x[row : row + 1]
        if bands.operators:
            image = bands.of(row).apply(image.to(work))
        for block in blocks:
            piece = bands.of(row, block.bands)
            kept = piece.factor is None and piece.offset is None
            # A copy where nothing else makes one: what follows writes.
            y = piece.apply(image[:, block.bands].to(work, copy=kept))[0].flatten(1)
            if noise_sd is not None:
                noise.add_block_(y, noise_sd[block.bands].to(work), block)
            if inside is not None:
                y *= inside[row]
            turned = y.T.contiguous()
            made[row, :, block.bands] = F.embedding_bag(
                index[row], turned, per_sample_weights=weight[row], mode="sum"
            )
    if params.blurred is not None and params.blur_sigma_px is not None:
        matrices = blur_matrices(params.blur_sigma_px, size).to(x.dtype)
        _blur_(made, params.blurred, matrices, reach=math.ceil(REACH_SIGMAS * blur_sigma_px))
    return made.view(batch, size, size, count).permute(0, 3, 1, 2)


def _blur_(made: Tensor, rows: Tensor, matrices: Tensor, reach: int) -> None:
    """Blur some views ``(B, size², n)`` in place, as :func:`spatial.gaussian_blur`.

    Part by part, from the pixels within ``reach``: beyond them a line's weights are nothing.
    """
    size = matrices.shape[-1]
    parts = [slice(first, min(first + PART, size)) for first in range(0, size, PART)]
    around = [slice(max(part.start - reach, 0), part.stop + reach) for part in parts]
    pairs = list(zip(parts, around, strict=True))
    for place, matrix in enumerate(matrices):
        row = rows[place : place + 1]
        lines = made.index_select(0, row).view(size, -1)
        down = torch.cat([matrix[part, near] @ lines[near] for part, near in pairs])
        down = down.view(size, size, -1)
        across = [
            torch.bmm(matrix[part, near].expand(size, -1, -1), down[:, near])
            for part, near in pairs
        ]
        made.index_copy_(0, row, torch.cat(across, 1).view(1, size * size, -1))
