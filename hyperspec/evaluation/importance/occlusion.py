"""Sliding windows of wavelengths, and images in which one of them is replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hyperspec.utils.errors import ConfigError

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows along the spectral axis.

    Args:
        centres_nm: Centre of each window in nanometres, ascending, ``(W,)``.
        width_nm: Their width in nanometres.
        sets: The different sets of bands that the windows hold, each ascending.
        set_of_window: Which set each window holds, ``(W,)``.
    """

    centres_nm: Floats
    width_nm: float
    sets: tuple[Indices, ...]
    set_of_window: Indices

    def bands(self, window: int) -> Indices:
        """Return the bands that a window holds, in channel order."""
        return self.sets[int(self.set_of_window[window])]


def plan_windows(wavelengths_nm: Floats, window_nm: float, step_nm: float | None) -> Windows:
    """Lay windows over the axis from the lowest band to the highest, leaving out empty ones.

    Args:
        wavelengths_nm: Band centres in nanometres in any order, ``(n,)``.
        window_nm: Width in nanometres, above 0; a band within half of it belongs to the window.
        step_nm: Distance of centres in nanometres, above 0 and at most the width, so that no band
            is passed over; half the width when None.

    Raises:
        ConfigError: If width or step are outside their ranges.
    """
    if not (np.isfinite(window_nm) and window_nm > 0):
        raise ConfigError(
            f"importance.window_nm is {window_nm}; give a width in nanometres above 0, for "
            "example 20."
        )
    step = window_nm / 2 if step_nm is None else step_nm
    if not 0 < step <= window_nm:
        raise ConfigError(
            f"importance.step_nm is {step}; give a distance above 0 and at most the window's "
            f"{window_nm:g} nm, or bands between windows would never be replaced."
        )
    low, high = wavelengths_nm.min(), wavelengths_nm.max()
    candidates = low + step * np.arange(int(np.ceil((high - low) / step - 1e-9)) + 1)
    kept, chosen = [], []
    numbers: dict[tuple[int, ...], int] = {}
    for centre in candidates:
        # The tolerance keeps a band on the very border in, whatever the rounding of the centre.
        near = np.flatnonzero(np.abs(wavelengths_nm - centre) <= window_nm / 2 + 1e-6)
        if near.size:
            kept.append(centre)
            chosen.append(numbers.setdefault(tuple(near.tolist()), len(numbers)))
    sets = tuple(np.asarray(key, dtype=np.intp) for key in numbers)
    return Windows(np.asarray(kept), window_nm, sets, np.asarray(chosen, dtype=np.intp))


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
                new = self._replacement(x[inside], rows[inside], sets[number], repeat)
                old = x[inside][:, bands]
                kept = new if mask is None else torch.where(mask[inside], new, old)
                x[torch.from_numpy(inside)[:, None], bands] = kept
            yield x, mask

    def _load(self, rows: Indices) -> tuple[Tensor, Tensor | None]:
        x = torch.from_numpy(np.array(self.images[rows], dtype=np.float32))
        if self.masks is None:
            return x, None
        return x, torch.from_numpy(np.array(self.masks[rows], dtype=bool))[:, None]

    def _replacement(self, x: Tensor, rows: Indices, bands: Indices, repeat: int) -> Tensor:
        """Return new values of the bands, broadcastable to ``(B, len(bands), S, S)``."""
        if self.mode == "mean":
            return self.fill[bands][None, :, None, None].expand(len(x), -1, *x.shape[2:])
        if self.mode == "interpolation":
            return self._interpolated(x, bands)
        donors, theirs = self._load(self.donors[repeat, rows])
        new = donors[:, bands]
        if theirs is None:
            return new
        # Where the donor has background, its own mean stands in: background is no reflectance.
        counts = theirs.sum((2, 3), keepdim=True).clamp(min=1)
        mean = (new * theirs).sum((2, 3), keepdim=True) / counts
        return torch.where(theirs, new, mean)

    def _interpolated(self, x: Tensor, bands: Indices) -> Tensor:
        outside = np.setdiff1d(np.arange(x.shape[1]), bands)
        if not outside.size:
            raise ConfigError(
                "importance.window_nm covers all "
                f"{x.shape[1]} bands, so that none is left to interpolate from; choose a narrower "
                "window or importance.mode=mean."
            )
        outside = outside[np.argsort(self.wavelengths_nm[outside], kind="stable")]
        nm, grid = self.wavelengths_nm[bands], self.wavelengths_nm[outside]
        right = np.clip(np.searchsorted(grid, nm), 0, grid.size - 1)
        left = np.clip(np.searchsorted(grid, nm, side="right") - 1, 0, grid.size - 1)
        gap = grid[right] - grid[left]
        share = np.divide(nm - grid[left], gap, out=np.zeros_like(nm), where=gap > 0)
        weight = torch.from_numpy(share.astype(np.float32))[None, :, None, None]
        return torch.lerp(x[:, outside[left]], x[:, outside[right]], weight)


def choose_donors(specimens: Sequence[str], num_donors: int, seed: int) -> Indices:
    """Choose for each row rows of other specimens, each specimen giving once per round.

    Args:
        specimens: Specimen of each row, ``(N,)``.
        num_donors: Rounds, 1 to one fewer than there are specimens.
        seed: Seed of the choice.

    Returns:
        Row indices, ``(num_donors, N)``; a donor's views are taken in turn.

    Raises:
        ConfigError: If there are not enough specimens.
    """
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(specimens):
        rows_of.setdefault(name, []).append(row)
    if not 1 <= num_donors < len(rows_of):
        raise ConfigError(
            f"importance.num_permutations is {num_donors}, but there are {len(rows_of)} held-out "
            "specimens; give a number from 1 to one fewer than that, or another importance.mode."
        )
    names = np.random.default_rng(seed).permutation(sorted(rows_of)).tolist()
    donors = np.zeros((num_donors, len(specimens)), dtype=np.intp)
    for i, name in enumerate(names):
        for shift in range(1, num_donors + 1):  # a step around the circle never ends at itself
            giving = rows_of[names[(i + shift) % len(names)]]
            for view, row in enumerate(rows_of[name]):
                donors[shift - 1, row] = giving[view % len(giving)]
    return donors
