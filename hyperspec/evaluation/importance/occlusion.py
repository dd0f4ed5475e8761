"""Images in which the bands of one window are replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hyperspec.evaluation.importance.sliding_windows import Floats, Indices, choose_donors
from hyperspec.utils.errors import ConfigError


class Occluder:
    """Makes batches of images, plain or with one set of bands replaced inside the mask.

    The arguments are those of
    :func:`hyperspec.evaluation.importance.perturbation.band_importance`, and ``num_donors`` of each
    row for ``permutation``.

    Raises:
        ConfigError: If ``permutation`` has fewer specimens than donors ask for.
        ValueError: If shapes do not fit or ``mean`` has no fill.
    """

    def __init__(
        self,
        images: NDArray[np.floating],
        masks: NDArray[np.bool_] | None,
        wavelengths_nm: Floats,
        specimens: Sequence[str],
        mode: str,
        fill: ArrayLike | None,
        num_donors: int,
        seed: int,
    ) -> None:
        num, bands, *frame = images.shape
        if wavelengths_nm.shape != (bands,) or len(specimens) != num:
            raise ValueError(
                f"images of shape {images.shape} do not fit {wavelengths_nm.size} wavelengths and "
                f"{len(specimens)} specimens."
            )
        if masks is not None and masks.shape != (num, *frame):
            raise ValueError(f"masks of shape {masks.shape} do not fit images of {images.shape}.")
        self.images, self.masks, self.mode = images, masks, mode
        self.wavelengths_nm = wavelengths_nm
        self.fill = torch.zeros(bands)
        if mode == "mean":
            values = np.asarray(np.nan if fill is None else fill, np.float32)
            if values.shape != (bands,):
                raise ValueError(f"mode 'mean' needs fill of shape ({bands},), the training mean.")
            self.fill = torch.from_numpy(values)
        if mode == "permutation":
            self.donors = choose_donors(specimens, num_donors, seed)

    def plain(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield all images and masks in order, ``(B, n, S, S)`` and ``(B, 1, S, S)``."""
        for start in range(0, len(self.images), batch_size):
            yield self._load(np.arange(start, min(start + batch_size, len(self.images))))

    def occluded(
        self, sets: Sequence[Indices], repeat: int, batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield every image once per set of bands: all images of the first set, and so on.

        Args:
            sets: Sets of bands to replace.
            repeat: Which donor of each row ``permutation`` takes.
            batch_size: Images per batch; one batch may span several sets.
        """
        num = len(self.images)
        for start in range(0, len(sets) * num, batch_size):
            pairs = np.arange(start, min(start + batch_size, len(sets) * num))
            rows = pairs % num
            x, mask = self._load(rows)
            for number in np.unique(pairs // num):
                inside = np.flatnonzero(pairs // num == number)
                bands = torch.from_numpy(sets[number])
                new = self.replacement(rows[inside], sets[number], repeat)
                old = x[inside][:, bands]
                kept = new if mask is None else torch.where(mask[inside], new, old)
                x[torch.from_numpy(inside)[:, None], bands] = kept
            yield x, mask

    def replacement(self, rows: Indices, bands: Indices, repeat: int) -> Tensor:
        """Return new values of some bands of some rows, broadcastable to ``(B, b, S, S)``.

        Args:
            rows: The images, ``(B,)``.
            bands: The bands of a window, ``(b,)``.
            repeat: Which donor of each row ``permutation`` takes.
        """
        if self.mode == "mean":
            return self.fill[bands][None, :, None, None]
        if self.mode == "interpolation":
            return self._interpolated(rows, bands)
        new, theirs = self._load(self.donors[repeat, rows], bands)
        if theirs is None:
            return new
        # Where the donor has background, its own mean stands in: background is no reflectance.
        counts = theirs.sum((2, 3), keepdim=True).clamp(min=1)
        mean = (new * theirs).sum((2, 3), keepdim=True) / counts
        return torch.where(theirs, new, mean)

    def _load(self, rows: Indices, bands: Indices | None = None) -> tuple[Tensor, Tensor | None]:
        found = self.images[rows] if bands is None else self.images[rows[:, None], bands]
        x = torch.from_numpy(np.array(found, dtype=np.float32))
        if self.masks is None:
            return x, None
        return x, torch.from_numpy(np.array(self.masks[rows], dtype=bool))[:, None]

    def _interpolated(self, rows: Indices, bands: Indices) -> Tensor:
        num = self.images.shape[1]
        outside = np.setdiff1d(np.arange(num), bands)
        if not outside.size:
            raise ConfigError(
                "importance.window_nm covers all "
                f"{num} bands, so that none is left to interpolate from; choose a narrower "
                "window or importance.mode=mean."
            )
        outside = outside[np.argsort(self.wavelengths_nm[outside], kind="stable")]
        nm, grid = self.wavelengths_nm[bands], self.wavelengths_nm[outside]
        right = np.clip(np.searchsorted(grid, nm), 0, grid.size - 1)
        left = np.clip(np.searchsorted(grid, nm, side="right") - 1, 0, grid.size - 1)
        gap = grid[right] - grid[left]
        share = np.divide(nm - grid[left], gap, out=np.zeros_like(nm), where=gap > 0)
        weight = torch.from_numpy(share.astype(np.float32))[None, :, None, None]
        near, ends = np.unique(outside[[*left, *right]], return_inverse=True)
        values, _ = self._load(rows, near)  # a window's neighbours are few
        low, high = ends[: len(bands)], ends[len(bands) :]
        return torch.lerp(values[:, low], values[:, high], weight)
