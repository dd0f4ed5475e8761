"""Bands as vectors over training pixels: their products, distances and similarities.

A band's vector has one entry per pixel, yet all that the methods need are sums over pixels, and
those follow from mean and covariance: their cost does not depend on the number of pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.statistics import SpectralStatistics

Matrix = NDArray[np.float64]

# Squares below this share of the largest are rounding of a difference of two nearly equal numbers.
ROUNDING = 1e-12


def second_moments(statistics: SpectralStatistics) -> Matrix:
    """Return the mean product of two bands over pixels, E[x_i x_j], shape ``(C, C)``."""
    return centred_moments(statistics) + np.outer(statistics.mean, statistics.mean)


def centred_moments(statistics: SpectralStatistics) -> Matrix:
    """Return the covariance with divisor count, shape ``(C, C)``; exactly 0 where constant."""
    varies = statistics.variance > 0
    share = (statistics.count - 1) / statistics.count
    return statistics.covariance * share * np.outer(varies, varies)


def band_distances(statistics: SpectralStatistics) -> Matrix:
    """Return the root mean square difference of two bands over pixels, shape ``(C, C)``."""
    moments = centred_moments(statistics)
    variance = np.diag(moments)
    squares = variance[:, None] + variance[None, :] - 2 * moments
    squares += np.subtract.outer(statistics.mean, statistics.mean) ** 2
    largest = float((variance + statistics.mean**2).max())
    squares[squares < ROUNDING * largest] = 0
    return np.sqrt((squares + squares.T) / 2)


def self_tuned_similarity(distances: Matrix, neighbour: int = 6) -> Matrix:
    """Return exp(-d_ij^2 / (s_i s_j)), s_i the distance to the sixth neighbour, shape ``(C, C)``.

    Source: Zelnik-Manor, Perona 2004, "Self-tuning spectral clustering", eq. 2.
    """
    nearest = min(neighbour, len(distances) - 1)
    scale = np.sort(distances, axis=1)[:, nearest]
    product = np.outer(scale, scale)
    ratio = np.divide(
        distances**2, product, out=np.where(distances > 0, np.inf, 0.0), where=product > 0
    )
    return np.exp(-ratio)


def ward_groups(distances: Matrix, n: int) -> list[NDArray[np.intp]]:
    """Return n groups of bands by Ward's criterion, each ascending, ordered by their first band.

    Args:
        distances: Euclidean distances, symmetric, shape ``(C, C)``.
        n: How many groups, 1 to C. Always exact, since the merges are counted and not cut at a
            height, where ties could give fewer.

    Source: Ward 1963, "Hierarchical grouping to optimize an objective function".
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    count = len(distances)
    members = {i: [i] for i in range(count)}
    if n < count:
        merges = linkage(squareform(distances, checks=False), "ward")
        for step, (one, other, *_) in enumerate(merges[: count - n]):
            members[count + step] = members.pop(int(one)) + members.pop(int(other))
    return sorted((np.sort(m) for m in members.values()), key=lambda group: int(group[0]))


def rescale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring values to 0 to 1; ones where all are equal."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.ones_like(values)
