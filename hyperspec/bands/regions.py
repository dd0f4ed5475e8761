"""A share of the bands for each region of the spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import numpy as np

from hyperspec.bands.base import CountedStrategy, Vector
from hyperspec.bands.fixed import spread
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError


@dataclass
class Regions(CountedStrategy):
    """N bands shared out among regions of nm, each region covered from end to end.

    By default UV, blue, green, red and near infrared get equal shares. A region with fewer good
    bands than its share gives the rest to the others.
    """

    name: ClassVar[str] = "regions"

    edges_nm: list[float] = field(default_factory=lambda: [400.0, 480.0, 550.0, 650.0])
    """Inner edges in nanometres, ascending; the outer ones are the axis's own ends. A band on an
    edge belongs to the region above it."""

    shares: list[float] | None = None
    """Relative share of each region from the lowest nm on, 0 or above, one more than edges; null
    means equal. Numbers of bands that add up to n are kept exactly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(b <= a for a, b in pairwise(self.edges_nm)):
            raise BandError(f"bands.edges_nm is {self.edges_nm}; give ascending wavelengths.")
        if self.shares is None:
            return
        if len(self.shares) != len(self.edges_nm) + 1:
            raise BandError(
                f"bands.shares holds {len(self.shares)} values for the {len(self.edges_nm) + 1} "
                f"regions that bands.edges_nm={self.edges_nm} makes. Give one per region."
            )
        if min(self.shares) < 0 or max(self.shares) <= 0:
            raise BandError(
                f"bands.shares is {self.shares}; give numbers of 0 or above, one at least above 0."
            )

    def _choose(self, wavelengths_nm: Vector, statistics: SpectralStatistics | None) -> list[int]:
        region = np.searchsorted(self.edges_nm, wavelengths_nm, side="right")
        members = [np.flatnonzero(region == r) for r in range(len(self.edges_nm) + 1)]
        shares = self.shares or [1.0] * len(members)
        counts = apportion(self.n, shares, [len(m) for m in members])
        return [
            int(bands[i])
            for bands, count in zip(members, counts, strict=True)
            if count
            for i in spread(wavelengths_nm[bands], count)
        ]


def apportion(total: int, shares: Sequence[float], capacities: Sequence[int]) -> list[int]:
    """Share out whole numbers by largest remainders, none above its capacity.

    Args:
        total: What to share out, at most the sum of the capacities.
        shares: Relative shares, 0 or above. A share of 0 gets something only when all others are
            full.
        capacities: Largest number for each.
    """
    counts = np.zeros(len(shares), int)
    room = np.asarray(capacities)
    weights = np.asarray(shares, np.float64)
    while left := total - int(counts.sum()):
        open_weights = np.where(counts < room, weights, 0.0)
        if not open_weights.any():
            open_weights = (counts < room).astype(np.float64)
        exact = left * open_weights / open_weights.sum()
        # 1e-9: a whole number that rounding has put just below itself.
        whole = np.floor(exact + 1e-9).astype(int)
        extra = np.argsort(-np.round(exact - whole, 9), kind="stable")[: left - int(whole.sum())]
        whole[extra] += 1
        counts += np.minimum(whole, room - counts)
    return [int(c) for c in counts]
