"""Features of a specimen's pixels: their statistics by band, and answers of random filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hyperspec.evaluation.embeddings import Floats

# Pixels (B, n, H, W) as the encoder takes them, 0 in the background, and masks (B, 1, H, W).
Batch = tuple[Tensor, Tensor]

NUM_FILTERS = 128
NUM_COMPONENTS = 32
_PATCH = 3  # pixels a side, as in MOSAIKS
_MOST_IMAGES = 64  # of the training part, from which patches are drawn
_NUM_PATCHES = 1024
_THRESHOLD = 1.0  # below which a filter is silent, in standard deviations of a whitened pixel
# Of the mean variance of a band; without it whitening would blow up the sensor's noise.
_RIDGE = 0.1


def image_statistics(pixels: Tensor, masks: Tensor) -> Tensor:
    """Return mean, standard deviation, lowest and highest of each band over the foreground.

    Args:
        pixels: Shape ``(B, n, H, W)``.
        masks: Foreground, ``(B, 1, H, W)`` bool; an image without any counts as a whole.

    Returns:
        Shape ``(B, 4 n)``, in that order.

    Source: Corley, Robinson, Dodhia, Lavista Ferres, Najafirad 2024, "Revisiting pre-trained remote
        sensing model benchmarks: resizing and normalization matters" (baseline Image Statistics).
    """
    rows = []
    for image, inside in zip(pixels, _foreground(masks), strict=True):
        # Seven times as fast as picking by the mask itself.
        spectra = image.flatten(1).index_select(1, inside.flatten().nonzero()[:, 0])
        mean = spectra.mean(1)
        spread = (spectra - mean[:, None]).square_().mean(1).sqrt()
        rows.append(torch.cat([mean, spread, spectra.amin(1), spectra.amax(1)]))
    return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class RandomFeatures:
    """Convolutions with random patches of training images, made by :meth:`fit`.

    Bands are whitened first, along the leading principal components of the patches' pixels, which
    is the whitening of Coates & Ng for bands alone: of 408 bands it leaves 32 numbers a pixel, so
    that a hundred filters cost a second.

    Args:
        mean: Mean spectrum of the patches, ``(n,)``.
        whitening: From spectra to components of unit variance, ``(d, n)``.
        filters: Whitened patches of unit length, ``(F, d, p, p)``.

    Source: Coates, Ng 2012, "Learning feature representations with k-means", section 5 (random
        patches); Rolf et al. 2021, "A generalizable and accessible approach to machine learning
        with global satellite imagery" (MOSAIKS: rectified on either side, pooled over the image).
    """

    mean: Tensor
    whitening: Tensor
    filters: Tensor

    @classmethod
    def fit(
        cls, read: Callable[[Sequence[int]], Batch], num_images: int, *, seed: int = 0
    ) -> RandomFeatures:
        """Draw patches of training images and whiten them.

        Args:
            read: Gives some of the training images, by their place among them.
            num_images: Training images there are.
            seed: Seed of the draw.
        """
        draw = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(num_images, generator=draw)[:_MOST_IMAGES].tolist()
        each = -(-_NUM_PATCHES // len(chosen))
        found = [_patches(*read([place]), each, draw) for place in chosen]
        # On the CPU: a Mac's GPU has neither float64 nor eigh.
        patches = torch.cat(found).cpu().double()  # (P, n, p, p)
        spectra = patches.movedim(1, -1).reshape(-1, patches.shape[1])
        mean = spectra.mean(0)
        shifted = spectra - mean
        values, vectors = torch.linalg.eigh(shifted.T @ shifted / len(shifted))
        kept = min(NUM_COMPONENTS, len(values))
        variance = values[-kept:].clamp_min(0) + _RIDGE * values.mean().clamp_min(1e-12)
        whitening = (vectors[:, -kept:] / variance.sqrt()).T
        some = torch.randperm(len(patches), generator=draw)[:NUM_FILTERS]
        centred = patches[some] - mean[:, None, None]
        filters = torch.einsum("dn,fnyx->fdyx", whitening, centred)
        length = filters.flatten(1).norm(dim=1).clamp_min(1e-12)
        filters = filters / length[:, None, None, None]
        return cls(*(part.float().to(found[0].device) for part in (mean, whitening, filters)))

    def __call__(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """Return how strongly each filter answers, over the foreground, ``(B, 2 F)``.

        The answers are the mean of max(0, a - 1) for each filter's response a, then of
        max(0, -a - 1). Takes pixels ``(B, n, H, W)`` and masks ``(B, 1, H, W)``.
        """
        inside, pixels = _foreground(masks), pixels.to(self.whitening.dtype)
        offset = self.whitening @ self.mean
        white = torch.einsum("dn,bnyx->bdyx", self.whitening, pixels) - offset[:, None, None]
        answers = functional.conv2d(white * inside, self.filters, padding="same")
        count = inside.sum((2, 3))
        pooled = [
            (functional.relu(sign * answers - _THRESHOLD) * inside).sum((2, 3)) / count
            for sign in (1, -1)
        ]
        return torch.cat(pooled, 1)


def standardised(train: Floats, *others: Floats) -> tuple[Floats, ...]:
    """Return features ``(N, F)`` of parts in units of the training part's spread.

    Columns are of different units, and a cosine would follow the largest. One that is constant in
    the training part becomes 0.
    """
    mean, spread = train.mean(0), train.std(0)
    # Below this a spread is rounding of float32.
    known = spread > 1e-6 * abs(mean)
    scale = spread.copy()
    scale[~known] = float("inf")
    return tuple((part - mean) / scale for part in (train, *others))


def _patches(pixels: Tensor, masks: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """Draw patches ``(count, n, p, p)`` around pixels of one image's foreground."""
    half = _PATCH // 2 if min(pixels.shape[2:]) >= _PATCH else 0
    size = 2 * half + 1
    inner = _foreground(masks)[0, 0]
    inner = inner[half : inner.shape[0] - half, half : inner.shape[1] - half]
    # A specimen that lies along the frame's edge alone has no whole patch around its pixels.
    places = (inner if inner.any() else torch.ones_like(inner)).nonzero().cpu()
    taken = places[torch.randint(len(places), (count,), generator=draw)].tolist()
    return torch.stack([pixels[0, :, y : y + size, x : x + size] for y, x in taken])


def _foreground(masks: Tensor) -> Tensor:
    masks = masks.bool()
    return masks | ~masks.flatten(1).any(1)[:, None, None, None]
