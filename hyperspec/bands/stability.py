"""How much a choice of bands depends on which specimens happened to be scanned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stability:
    """Agreement of the sets that one strategy chose on several resamples.

    Args:
        value: 1 when all sets are the same, about 0 when they agree as random ones do; at least
            -1 / (M - 1).
        low: Lower end of the confidence interval.
        high: Upper end, at most 1.
        num_sets: Number of sets M.
    """

    value: float
    low: float
    high: float
    num_sets: int


def stability(sets: Sequence[Sequence[int]], num_bands: int, *, level: float = 0.95) -> Stability:
    """Measure the stability of chosen sets, corrected for chance.

    A neighbour 1 nm away counts as another band, as any other would; :func:`mean_shift_nm` tells
    how far picks move. The interval speaks of the number of sets, not of the number of specimens.

    Args:
        sets: M sets of band indices, M at least 2.
        num_bands: Number C of bands to choose from.
        level: Coverage of the interval, between 0 and 1.

    Raises:
        ValueError: If there are fewer than two sets, or a set is empty or leaves the bands.

    Source:
        Nogueira, Sechidis & Brown (2018), On the stability of feature selection algorithms, JMLR
        18: the measure is definition 4, the interval theorem 7 and corollary 9.
    """
    from scipy.stats import norm

    chosen = _indicators(sets, num_bands)
    count = len(chosen)
    frequency = chosen.mean(0)
    sizes = chosen.sum(1)
    share = frequency.mean()  # mean size over C
    chance = share * (1 - share)
    if chance == 0:  # every set holds every band
        return Stability(1.0, 1.0, 1.0, count)
    variance = frequency * (1 - frequency) * count / (count - 1)
    value = float(1 - variance.mean() / chance)
    parts = (
        (chosen * frequency).mean(1)
        - sizes * share / num_bands
        - value / 2 * (2 * sizes * share / num_bands - sizes / num_bands - share + 1)
    ) / chance
    error = float(np.sqrt(4 / count**2 * np.sum((parts - parts.mean()) ** 2)))
    half = float(norm.ppf((1 + level) / 2)) * error
    return Stability(value, value - half, min(value + half, 1.0), count)


def mean_shift_nm(
    chosen_nm: NDArray[np.float64], resampled_nm: Sequence[NDArray[np.float64]]
) -> float:
    """Return how far the nearest pick of a resample lies from each chosen band, on average.

    Args:
        chosen_nm: The chosen bands in nanometres, shape ``(n,)``.
        resampled_nm: What was chosen on each resample, in nanometres.
    """
    shifts = [np.abs(chosen_nm[:, None] - other[None]).min(1).mean() for other in resampled_nm]
    return float(np.mean(shifts))


def _indicators(sets: Sequence[Sequence[int]], num_bands: int) -> NDArray[np.float64]:
    if len(sets) < 2:
        raise ValueError(f"Stability compares two sets at least, {len(sets)} was given.")
    chosen = np.zeros((len(sets), num_bands))
    for row, indices in enumerate(sets):
        if not indices or min(indices) < 0 or max(indices) >= num_bands:
            raise ValueError(f"Set {row} is empty or leaves the bands 0 to {num_bands - 1}.")
        chosen[row, list(indices)] = 1
    return chosen
