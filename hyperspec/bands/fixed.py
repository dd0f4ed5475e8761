"""Strategies that need no data: they look at the axis alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import CountedStrategy, Strategy, Vector
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import AxisError, BandError


@dataclass
class Full(Strategy):
    """Every good band."""

    name: ClassVar[str] = "full"

    def _indices(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None
    ) -> tuple[int, ...]:
        return tuple(int(i) for i in axis.good_indices)


@dataclass
class ListBands(Strategy):
    """The given bands in the given order, by index or by wavelength."""

    name: ClassVar[str] = "list"

    indices: list[int] | None = None
    """0-based band indices; give either these or nm."""

    nm: list[float] | None = None
    """Wavelengths in nanometres; the nearest good band of each is taken."""

    tolerance_nm: float = 5.0
    """Largest accepted distance between a wavelength and its band, in nanometres."""

    def __post_init__(self) -> None:
        if (self.indices is None) == (self.nm is None):
            given = "neither is set" if self.indices is None else "both are set"
            raise BandError(
                f"bands=list takes bands.indices or bands.nm, but {given}. Give one of them, for "
                "example bands.nm=[450,550,650]."
            )
        if not (self.indices or self.nm):
            raise BandError("bands=list was given an empty list. Name one band at least.")
        _check_tolerance(self.tolerance_nm)

    def _indices(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None
    ) -> tuple[int, ...]:
        if self.nm is not None:
            return nearest_bands(axis, self.nm, self.tolerance_nm)
        indices = tuple(self.indices or ())
        for index in indices:
            if not 0 <= index < len(axis):
                raise BandError(
                    f"bands.indices holds {index}, but the axis has bands 0 to {len(axis) - 1}."
                )
            if not axis.good[index]:
                raise BandError(
                    f"bands.indices holds {index} ({axis.wavelengths_nm[index]:.2f} nm), which the "
                    "header's bad-band list (bbl) marks as bad. Take another band, or correct the "
                    "header."
                )
            if indices.count(index) > 1:
                raise BandError(f"bands.indices holds {index} more than once. Name it once.")
        return indices


@dataclass
class Rgb(Strategy):
    """Three bands in red, green, blue order, as a pretrained stem expects them."""

    name: ClassVar[str] = "rgb"

    nm: list[float] = field(default_factory=lambda: [650.0, 550.0, 450.0])
    """Wavelengths of red, green and blue in nanometres."""

    tolerance_nm: float = 20.0
    """Largest accepted distance between a wavelength and its band, in nanometres."""

    def __post_init__(self) -> None:
        if len(self.nm) != 3:
            raise BandError(
                f"bands=rgb takes three wavelengths, but bands.nm holds {len(self.nm)}. For any "
                "other number use bands=list."
            )
        _check_tolerance(self.tolerance_nm)

    def _indices(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None
    ) -> tuple[int, ...]:
        return nearest_bands(axis, self.nm, self.tolerance_nm)


@dataclass
class Uniform(CountedStrategy):
    """N points spread evenly over nm, the lowest and the highest good band included.

    Each point takes its nearest band. A point whose band is bad or taken moves to the nearest
    free good one, so that the number is always exact. One band is the middle one.
    """

    name: ClassVar[str] = "uniform"

    def _choose(
        self, wavelengths_nm: Vector, statistics: SpectralStatistics | None
    ) -> Sequence[int]:
        return spread(wavelengths_nm, self.n)


@dataclass
class Random(CountedStrategy):
    """A seeded draw, the baseline that every claim is compared with.

    For one seed the sets are nested: the bands at n = 10 are among those at n = 20.
    """

    name: ClassVar[str] = "random"

    seed: int = 0
    """Seed of the draw, 0 or above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0:
            raise BandError(f"bands.seed is {self.seed}; give a whole number of 0 or above.")

    def _choose(
        self, wavelengths_nm: Vector, statistics: SpectralStatistics | None
    ) -> NDArray[np.intp]:
        return np.random.default_rng(self.seed).permutation(len(wavelengths_nm))[: self.n]


def spread(wavelengths_nm: Vector, n: int) -> list[int]:
    """Return n bands spread evenly over nm, both ends included; the middle one for n = 1.

    Wavelengths ``(C,)`` are in nanometres and ascend; n is 1 to C.
    """
    low, high = wavelengths_nm[0], wavelengths_nm[-1]
    points = np.linspace(low, high, n) if n > 1 else np.array([(low + high) / 2])
    # The ends first, so that no inner point takes them.
    points = np.concatenate([points[:1], points[:0:-1][:1], points[1:-1]])
    free = np.ones(len(wavelengths_nm), bool)
    chosen = []
    for point in points:
        # Rounded as in SpectralAxis.nearest: halfway between two bands means the lower one.
        distance = np.where(free, np.round(np.abs(wavelengths_nm - point), 6), np.inf)
        index = int(distance.argmin())
        free[index] = False
        chosen.append(index)
    return chosen


def nearest_bands(
    axis: SpectralAxis, wanted_nm: Sequence[float], tolerance_nm: float
) -> tuple[int, ...]:
    """Return the nearest good band of each wavelength, in the given order.

    Raises:
        BandError: If a wavelength has no good band near it, or two share one.
    """
    indices: list[int] = []
    for nm in wanted_nm:
        try:
            index = axis.nearest(nm, tolerance_nm)
        except AxisError as error:
            raise BandError(f"bands.nm holds {nm:g}. {error} (bands.tolerance_nm)") from error
        if index in indices:
            other = wanted_nm[indices.index(index)]
            raise BandError(
                f"bands.nm holds {other:g} and {nm:g}, whose nearest band is the same: {index} at "
                f"{axis.wavelengths_nm[index]:.2f} nm. Leave one out."
            )
        indices.append(index)
    return tuple(indices)


def _check_tolerance(tolerance_nm: float) -> None:
    if not tolerance_nm >= 0:
        raise BandError(f"bands.tolerance_nm is {tolerance_nm}; give nanometres, 0 or above.")
