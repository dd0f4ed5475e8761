"""Sliding windows of wavelengths, and whose pixels may stand in one: numbers, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

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
