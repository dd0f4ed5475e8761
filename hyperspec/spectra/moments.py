"""Moments and histograms of spectra, gathered in blocks and merged without a second pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import HyperspecError

# 0 to 1.2 holds diffuse reflectance and the lower part of glints; 0.005 per bin is half of a good
# line-scan sensor's noise.
HISTOGRAM_RANGE = (0.0, 1.2)
HISTOGRAM_BINS = 240

# 1024 spectra of 408 bands are 3.3 MB in float64: large enough for a fast matrix product, and the
# buffers of a block stay in the processor's cache.
_BLOCK_ROWS = 1024
# Spectra, evenly spread over all, whose mean is taken off before products are summed.
_CENTRE_ROWS = 256


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments and histograms of a set of spectra.

    Args:
        count: Number of spectra, at least 1.
        mean: Mean spectrum, shape ``(C,)``.
        covariance: Covariance with divisor count - 1, shape ``(C, C)``; zeros for one spectrum.
        minimum: Smallest value per band, shape ``(C,)``.
        maximum: Largest value per band, shape ``(C,)``.
        histogram: Counts per band, shape ``(C, num_bins)``, equal bins over ``histogram_range``.
            Values below or above the range count in the first or last bin, so that each row sums
            to ``count``.
        histogram_range: Lower and upper end of the histogram, in reflectance.
    """

    count: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    histogram: NDArray[np.int64]
    histogram_range: tuple[float, float] = HISTOGRAM_RANGE

    @classmethod
    def of(
        cls,
        spectra: NDArray[np.floating],
        histogram_range: tuple[float, float] = HISTOGRAM_RANGE,
        num_bins: int = HISTOGRAM_BINS,
    ) -> Moments:
        """Gather the moments of finite spectra in float64, block by block.

        Deviations are taken from the mean m_0 of a few spectra, so that one pass suffices: with
        s = sum (x - m_0) the covariance is (sum (x - m_0)(x - m_0)^T - s s^T / n) / (n - 1). m_0
        need not be the mean, only near it against the spread, for no digits to be lost: the mean
        of k of n values keeps the second term below n / k of the first.

        Args:
            spectra: Finite values, shape ``(P, C)``, P at least 1.
            histogram_range: Lower and upper end of the histogram.
            num_bins: Number of equal bins.

        Source: Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance", eq. 1.6
            (shifted data).
        """
        count, bands = spectra.shape
        centre = spectra[:: max(count // _CENTRE_ROWS, 1)].mean(axis=0, dtype=np.float64)
        total, scatter = np.zeros(bands), np.zeros((bands, bands))
        product = np.empty_like(scatter)
        counter = _Counter(bands, histogram_range, num_bins)
        # Each band's values lie together, as they do in cubes.
        buffer = np.empty((bands, min(count, _BLOCK_ROWS))).T
        for start in range(0, count, _BLOCK_ROWS):
            some = spectra[start : start + _BLOCK_ROWS]
            block = buffer[: len(some)]
            np.copyto(block, some)
            counter.add(block)
            block -= centre
            total += block.sum(axis=0)
            # NumPy sees the same array twice and computes one half only (BLAS syrk).
            scatter += np.matmul(block.T, block, out=product)
        scatter -= np.outer(total, total / count)
        return cls(
            count=count,
            mean=centre + total / count,
            covariance=scatter / max(count - 1, 1),
            minimum=spectra.min(axis=0).astype(np.float64),
            maximum=spectra.max(axis=0).astype(np.float64),
            histogram=counter.counts,
            histogram_range=histogram_range,
        )

    @classmethod
    def merge(cls, parts: Sequence[Moments]) -> Moments:
        """Merge moments of disjoint sets, of the same bands and bins, into those of their union.

        Raises:
            HyperspecError: If there is nothing to merge or the histograms' bins differ.

        Source: Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm", eq.
        2.1, for any number of parts: S = sum S_i + sum n_i (m_i - m)(m_i - m)^T.
        """
        if not parts:
            raise HyperspecError("There are no spectral statistics to merge; give at least one.")
        if len(parts) == 1:
            return parts[0]
        bins = {(p.histogram.shape[1], *p.histogram_range) for p in parts}
        if len(bins) > 1:
            raise HyperspecError(
                f"Statistics with different histograms cannot be merged: (bins, low, high) are "
                f"{sorted(bins)}. Gather them with the same histogram_range and num_bins."
            )
        counts = np.array([p.count for p in parts], np.float64)
        means = np.stack([p.mean for p in parts])
        count = sum(p.count for p in parts)
        mean = counts @ means / count
        shifts = means - mean
        scatter = shifts.T @ (shifts * counts[:, None])
        for part in parts:
            scatter += part.covariance * (part.count - 1)
        return cls(
            count=count,
            mean=mean,
            covariance=scatter / max(count - 1, 1),
            minimum=np.min([p.minimum for p in parts], axis=0),
            maximum=np.max([p.maximum for p in parts], axis=0),
            histogram=np.sum([p.histogram for p in parts], axis=0),
            histogram_range=parts[0].histogram_range,
        )

    def restrict(self, indices: Sequence[int] | NDArray[np.intp]) -> Moments:
        """Return the moments of the given bands, in the given order."""
        chosen = np.asarray(indices, dtype=np.intp)
        return replace(
            self,
            mean=self.mean[chosen],
            covariance=self.covariance[np.ix_(chosen, chosen)],
            minimum=self.minimum[chosen],
            maximum=self.maximum[chosen],
            histogram=self.histogram[chosen],
        )

    @property
    def variance(self) -> NDArray[np.float64]:
        """Variance per band with divisor count - 1, shape ``(C,)``; exactly 0 if constant."""
        return np.where(self.minimum == self.maximum, 0.0, np.diag(self.covariance))

    @cached_property
    def correlation(self) -> NDArray[np.float64]:
        """Correlation of all bands, shape ``(C, C)``, -1 to 1.

        A constant band has correlation 0 with every other band and 1 with itself.
        """
        deviation = np.sqrt(self.variance)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        correlation = np.clip(self.covariance * scale[:, None] * scale[None, :], -1.0, 1.0)
        np.fill_diagonal(correlation, 1.0)
        return correlation


def count_values(
    spectra: NDArray[np.floating], histogram_range: tuple[float, float], num_bins: int
) -> NDArray[np.int64]:
    """Return how many values ``(P, C)`` each band has in each bin, ``(C, num_bins)``.

    Values outside the range count in the first or last bin.
    """
    counter = _Counter(spectra.shape[1], histogram_range, num_bins)
    for start in range(0, len(spectra), _BLOCK_ROWS):
        counter.add(spectra[start : start + _BLOCK_ROWS].astype(np.float64))
    return counter.counts


class _Counter:
    """Histograms of all bands, block by block."""

    def __init__(self, bands: int, histogram_range: tuple[float, float], num_bins: int) -> None:
        self._low, high = histogram_range
        self._scale = num_bins / (high - self._low)
        self._num_bins = num_bins
        self._first = num_bins * np.arange(bands)
        self._levels: NDArray[np.float64] = np.empty((0, bands))
        self._bins: NDArray[np.intp] = np.empty((0, bands), np.intp)
        self.counts = np.zeros((bands, num_bins), np.int64)

    def add(self, block: NDArray[np.float64]) -> None:
        """Count the values of a block, shape ``(rows, C)``."""
        if len(self._bins) < len(block):
            self._levels = np.empty(block.shape[::-1]).T
            self._bins = np.empty(block.shape[::-1], np.intp).T
        levels, bins = self._levels[: len(block)], self._bins[: len(block)]
        np.subtract(block, self._low, out=levels)
        levels *= self._scale
        np.clip(levels, 0, self._num_bins - 1, out=levels)
        np.copyto(bins, levels, casting="unsafe")
        bins += self._first
        self.counts += np.bincount(bins.ravel("K"), minlength=self.counts.size).reshape(
            self.counts.shape
        )
