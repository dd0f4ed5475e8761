"""Strategies that group bands by their likeness, wherever they lie, and take one of each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import StatisticsStrategy, Vector, top
from hyperspec.bands.geometry import (
    ROUNDING,
    Matrix,
    band_distances,
    rescale,
    second_moments,
    ward_groups,
)
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError


@dataclass
class Correlation(StatisticsStrategy):
    """Ward clusters of correlated bands; of each the band that tells most about the others.

    Bands i and j lie sqrt(2 (1 - |r_ij|)) apart, the distance of standardised bands up to sign.
    The mutual information is the Gaussian one, -log(1 - r^2) / 2, which the cached correlations
    give without the pixels.

    Source: after Martinez-Uso, Pla, Sotoca, Garcia-Sevilla 2007, "Clustering-based hyperspectral
        band selection using information measures" (hierarchical clusters, Ward's linkage).
    """

    name: ClassVar[str] = "correlation"

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> list[int]:
        correlation = np.abs(statistics.correlation)
        information = gaussian_information(correlation)
        chosen = []
        for group in ward_groups(np.sqrt(2 * (1 - correlation)), self.n):
            within = information[np.ix_(group, group)]
            shared = (within.sum(axis=1) - np.diag(within)) / max(len(group) - 1, 1)
            chosen.append(int(group[top(shared, 1)[0]]))
        return chosen


def gaussian_information(correlation: Matrix) -> Matrix:
    """Return the mutual information of jointly Gaussian bands in nats, shape ``(C, C)``.

    Args:
        correlation: -1 to 1, shape ``(C, C)``. Above 1 - 1e-12 the information is capped at
            13.8 nats instead of infinite.
    """
    return -0.5 * np.log(np.maximum(1 - correlation**2, 1e-12))


@dataclass
class EFdpc(StatisticsStrategy):
    """Enhanced fast density-peak clustering: bands that are dense and far from denser ones.

    Source: Jia, Tang, Zhu, Li 2016, "A novel ranking-based clustering approach for hyperspectral
        band selection": score rho * delta^2 of the rescaled density and distance, cutoff
        d_ini / exp(n / C).
    """

    name: ClassVar[str] = "e_fdpc"

    cutoff: float = 0.02
    """Share of the pairs of bands that lie within the initial cutoff distance, above 0 to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.cutoff <= 1:
            raise BandError(
                f"bands.cutoff is {self.cutoff}; give a share of the pairs of bands above 0 and "
                "up to 1, for example 0.02."
            )

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> NDArray[np.intp]:
        distances = band_distances(statistics)
        return top(self._untied(density_peak_scores(distances, self.n, self.cutoff)), self.n)


def density_peak_scores(distances: Matrix, n: int, cutoff: float = 0.02) -> Vector:
    """Return rho * delta^2 per band, both rescaled to 0 to 1, shape ``(C,)``.

    Args:
        distances: Shape ``(C, C)``.
        n: Number of bands to choose; the cutoff shrinks with it.
        cutoff: Share of the pairs of bands within the initial cutoff distance.
    """
    count = len(distances)
    if count == 1:
        return np.ones(1)
    pairs = np.sort(distances[np.triu_indices(count, 1)])
    positive = pairs[pairs > 0]
    if not positive.size:
        return np.ones(count)
    initial = pairs[max(int(np.ceil(cutoff * len(pairs))), 1) - 1]
    # Twins can fill the whole cutoff; the smallest distance that is one then serves.
    reach = max(float(initial), float(positive[0])) / np.exp(n / count)
    nearness = np.exp(-((distances / reach) ** 2))
    np.fill_diagonal(nearness, 0.0)  # not "- 1" afterwards: lonely bands have densities of 1e-20
    density = nearness.sum(axis=1)
    order = top(density, count)
    isolation = np.empty(count)
    for place, band in enumerate(order[1:], start=1):
        isolation[band] = distances[band, order[:place]].min()
    isolation[order[0]] = isolation[order[1:]].max()
    return rescale(density) * rescale(isolation) ** 2


@dataclass
class Issc(StatisticsStrategy):
    """Improved sparse subspace clustering: bands grouped by how the other bands compose them.

    Each band is written as a combination of all others, ridge-penalised, which has a closed form
    in the bands' products. So no sample of pixels is needed: the statistics of all of them serve.
    The angles between the coefficients give a graph, its normalised Laplacian an embedding. The
    embedding is grouped by Ward's criterion where the authors use k-means, which depends on its
    start and may leave groups empty. Of each group the band nearest to the group's mean is taken.

    Source: Sun, Zhang, Du, Li, Lai 2015, "Band selection using improved sparse subspace clustering
        for hyperspectral imagery classification".
    """

    name: ClassVar[str] = "issc"

    penalty: float = 1e-4
    """Ridge penalty in units of the bands' mean square, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.penalty > 0:
            raise BandError(f"bands.penalty is {self.penalty}; give a number above 0.")

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> list[int]:
        products = second_moments(statistics)
        embedding = spectral_embedding(coefficient_similarity(products, self.penalty), self.n)
        # Rows have unit length. 1e-12: beside 1, what is left is the products' rounding.
        squares = 2 - 2 * (embedding @ embedding.T)
        distances = np.sqrt(np.where(squares > ROUNDING, squares, 0.0))
        chosen = []
        for group in ward_groups(distances, self.n):
            within = products[np.ix_(group, group)]
            # |x_b - mean|^2 without what is the same for all b.
            chosen.append(int(group[top(2 * within.mean(axis=1) - np.diag(within), 1)[0]]))
        return chosen


def self_expression(products: Matrix, penalty: float) -> Matrix:
    """Return the coefficients of each band (column) in the others, diagonal 0, shape ``(C, C)``.

    The minimiser of |X - X Z|^2 + penalty * mean square * |Z|^2 with diag(Z) = 0 is z_ij =
    -p_ij / p_jj, P the inverse of X'X + penalty. Products are means over pixels, shape
    ``(C, C)``; the penalty is in units of their diagonal's mean.
    """
    count = len(products)
    level = float(np.trace(products)) / count or 1.0
    inverse = np.linalg.inv(products + penalty * level * np.eye(count))
    coefficients: Matrix = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(coefficients, 0.0)
    return coefficients


def coefficient_similarity(products: Matrix, penalty: float) -> Matrix:
    """Return the squared cosine between the bands' coefficients, shape ``(C, C)``."""
    coefficients = self_expression(products, penalty)
    length = np.linalg.norm(coefficients, axis=0)
    unit = np.divide(coefficients, length, out=np.zeros_like(coefficients), where=length > 0)
    similarity: Matrix = np.square(unit.T @ unit)
    np.fill_diagonal(similarity, 1.0)
    return similarity


def spectral_embedding(similarity: Matrix, dimensions: int) -> Matrix:
    """Return unit rows of the leading eigenvectors of D^-1/2 S D^-1/2, ``(C, dimensions)``.

    Source: Ng, Jordan, Weiss 2001, "On spectral clustering", steps 2 to 4.
    """
    root = 1 / np.sqrt(similarity.sum(axis=1))
    _, vectors = np.linalg.eigh(similarity * np.outer(root, root))
    leading = vectors[:, -dimensions:]
    length = np.linalg.norm(leading, axis=1, keepdims=True)
    embedding: Matrix = np.divide(leading, length, out=np.zeros_like(leading), where=length > 0)
    return embedding
