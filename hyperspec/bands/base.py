"""What every band strategy shares: the checks, the good bands in order of nm, the selection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection, ascending
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError, TiedError

Vector = NDArray[np.float64]
"""A number per band, shape ``(C,)``."""


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise :class:`BandError` naming the option of ``bands`` if a value is none of the choices."""
    if value not in choices:
        given = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise BandError(f"bands.{key} is {value!r}; give {given}.")


@dataclass
class Strategy(ABC):
    """A rule that maps an axis, and training statistics where it needs them, to bands.

    A strategy is a plain dataclass: the same object serves in a notebook and as config option.
    """

    name: ClassVar[str] = ""
    needs_statistics: ClassVar[bool] = False
    supervised: ClassVar[bool] = False
    classic: ClassVar[bool] = False
    """Of historical interest: known to lose, so that ``--strategy all`` leaves it out."""

    def select(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None = None
    ) -> BandSelection:
        """Choose bands.

        Args:
            axis: The axis to choose from; bad bands are never chosen.
            statistics: Statistics of the training part on that axis. Strategies with
                ``needs_statistics`` require them, the others ignore them.

        Raises:
            BandError: If the axis or the statistics cannot give what was asked for.
        """
        self.check_axis(axis)
        return BandSelection(self._indices(axis, statistics), axis, self.name, asdict(self))

    def check_axis(self, axis: SpectralAxis) -> None:
        """Refuse an axis that cannot give what is asked for, as far as no data are needed for that.

        Raises:
            BandError: If it has too few good bands.
        """
        if not axis.good_indices.size:
            raise BandError(
                f"All {len(axis)} bands of the axis are marked bad, so bands={self.name} has none "
                "to choose from. Check the header's bad-band list (bbl)."
            )

    @abstractmethod
    def _indices(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None
    ) -> tuple[int, ...]:
        """Return indices of good bands in channel order, or in the user's for rgb and list."""


@dataclass
class CountedStrategy(Strategy):
    """A strategy that gives exactly n distinct good bands, for every n from 1 to all of them."""

    n: int
    """Number of bands, 1 to the axis's number of good bands."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise BandError(
                f"bands.n is {self.n}, but bands={self.name} chooses 1 band at least. Set bands.n "
                "between 1 and the number of good bands."
            )

    def check_axis(self, axis: SpectralAxis) -> None:
        """Refuse an axis of fewer good bands than are asked for."""
        super().check_axis(axis)
        num_good = axis.good_indices.size
        if self.n > num_good:
            low, high = axis.range_nm
            raise BandError(
                f"bands.n is {self.n}, but the axis has {num_good} good bands of {len(axis)} "
                f"({low:.1f}-{high:.1f} nm). Set bands.n between 1 and {num_good}, or bands=full."
            )

    def _indices(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None
    ) -> tuple[int, ...]:
        order, statistics = self._arranged(axis, statistics)
        chosen = self._choose(axis.wavelengths_nm[order], statistics)
        assert len(chosen) == self.n, f"{self.name} gave {len(chosen)} of {self.n} bands"
        return ascending(order[np.asarray(chosen, np.intp)])

    def _arranged(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None
    ) -> tuple[NDArray[np.intp], SpectralStatistics | None]:
        """Check what was asked for; return the good bands in order of nm with their statistics."""
        self.check_axis(axis)
        if self.needs_statistics:
            statistics = self._checked(axis, statistics)
        # In order of nm, so that contiguous means neighbouring and the first of equals is the
        # lower nm, whatever the channel order.
        order = axis.good_indices[np.argsort(axis.wavelengths_nm[axis.good_indices], kind="stable")]
        if statistics is not None and not np.array_equal(order, np.arange(len(axis))):
            statistics = statistics.restrict(order)
        return order, statistics

    @abstractmethod
    def _choose(
        self, wavelengths_nm: Vector, statistics: SpectralStatistics | None
    ) -> Sequence[int] | NDArray[np.intp]:
        """Choose n of the good bands, which arrive sorted by nm, with their statistics."""

    def _checked(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None
    ) -> SpectralStatistics:
        if statistics is None:
            raise BandError(
                f"bands={self.name} ranks bands by statistics of training spectra, but none were "
                "given. Give a folder of cubes, or use a strategy that needs no data: full, list, "
                "rgb, uniform, regions, random."
            )
        if found := "; ".join(axis.differences(statistics.axis)):
            raise BandError(
                f"bands={self.name} was given statistics of another axis: {found}. Gather them "
                "from cubes on the axis at hand."
            )
        if self.supervised and len(statistics.classes) < 2:
            raise BandError(
                f"bands={self.name} compares classes, but the training statistics hold "
                f"{len(statistics.classes)}. Give labels (`hyperspec start FOLDER` says how to "
                "find them), or use an unsupervised strategy such as uniform or ocf."
            )
        return statistics


@dataclass
class StatisticsStrategy(CountedStrategy):
    """A counted strategy that reads training statistics."""

    needs_statistics: ClassVar[bool] = True

    def _choose(
        self, wavelengths_nm: Vector, statistics: SpectralStatistics | None
    ) -> Sequence[int] | NDArray[np.intp]:
        assert statistics is not None  # _checked has refused it
        if self.n < len(wavelengths_nm) and statistics.minimum.min() == statistics.maximum.max():
            raise TiedError(
                f"bands={self.name} cannot choose {self.n} of {len(wavelengths_nm)} bands: all "
                f"values of the {statistics.count} training spectra are "
                f"{statistics.minimum.min():.4g}. Check the cubes and the mask (hyperspec check)."
            )
        return self._rank(wavelengths_nm, statistics)

    def _untied(self, scores: Vector) -> Vector:
        """Return scores ``(C,)``, by which bands are ranked.

        Raises:
            TiedError: If all are the same, unless all bands are taken anyway: the first ones would
                be picked each time, and look like a stable choice.
        """
        if self.n < len(scores) and len(set(_ten_digits(scores).tolist())) == 1:
            raise TiedError(
                f"bands={self.name} gives all {len(scores)} bands the same score "
                f"({scores[0]:.4g}), so that any {self.n} of them would be arbitrary. Give it more "
                "specimens or other labels to tell bands apart by, or take bands=uniform."
            )
        return scores

    @abstractmethod
    def _rank(
        self, wavelengths_nm: Vector, statistics: SpectralStatistics
    ) -> Sequence[int] | NDArray[np.intp]:
        """Choose n of the good bands, which arrive sorted by nm."""


def top(scores: Vector, n: int) -> NDArray[np.intp]:
    """Return the indices of the n highest scores, best first; of equals the first.

    Vector that agree to ten digits are equal: two identical bands differ in their last digits once
    a matrix product has rounded them.

    Args:
        scores: One score per band, finite, shape ``(C,)``.
        n: How many, 1 to C.
    """
    return np.argsort(-_ten_digits(scores), kind="stable")[:n]


def _ten_digits(scores: Vector) -> Vector:
    size = np.abs(scores)
    # Smaller ones have no ten digits left in float64.
    exponent = np.floor(np.log10(size, out=np.zeros_like(size), where=size > 1e-290))
    unit = 10.0 ** (exponent - 9)
    return np.where(size > 1e-290, np.round(scores / unit) * unit, 0.0)


def best(scores: Vector, free: NDArray[np.bool_]) -> int:
    """Return the index of the highest score among the free bands; of equals the first."""
    candidates = np.flatnonzero(free)
    return int(candidates[top(scores[candidates], 1)[0]])
