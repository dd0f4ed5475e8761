"""Strategies that look at bands as vectors: what of each is not in the span of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import StatisticsStrategy, Vector, best, top
from hyperspec.bands.geometry import ROUNDING, Matrix, centred_moments, second_moments
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError


@dataclass
class Opbs(StatisticsStrategy):
    """Orthogonal projections: each band adds the most volume to the ellipsoid of those before it.

    The first has the highest variance, each further one the highest variance that the chosen do
    not explain: greedily the largest determinant of their covariance. The sets are nested in n.
    Once the rest is explained to rounding, the lower nm come first.

    Source: Zhang, Wang, Li 2018, "A geometry-based band selection approach for hyperspectral image
        analysis", algorithm 2.
    """

    name: ClassVar[str] = "opbs"

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> list[int]:
        return orthogonal_chain(centred_moments(statistics), self.n, None)[0]


@dataclass
class Spa(StatisticsStrategy):
    """Successive projections: from a first band, always the one least in the span of the chosen.

    The authors try every first band and keep the chain whose regression predicts best. Without a
    response, the chain of the largest volume is kept, or the one from a given wavelength.

    Source: Araujo, Saldanha, Galvao, Yoneyama, Chame, Visani 2001, "The successive projections
        algorithm for variable selection in spectroscopic multicomponent analysis", steps 0 to 5.
    """

    name: ClassVar[str] = "spa"

    start_nm: float | None = None
    """Wavelength of the first band in nanometres (the nearest one); null tries them all."""

    centre: bool = True
    """Whether spectra are mean-centred first, as is usual in chemometrics."""

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> list[int]:
        moments = centred_moments(statistics) if self.centre else second_moments(statistics)
        if self.start_nm is not None:
            first = int(np.abs(wavelengths_nm - self.start_nm).argmin())
            return orthogonal_chain(moments, self.n, first)[0]
        if self.n == len(wavelengths_nm):
            return list(range(self.n))
        return largest_chain(moments, self.n)


def orthogonal_chain(moments: Matrix, n: int, first: int | None) -> tuple[list[int], Vector]:
    """Choose bands by the largest residual after projecting on those before: pivoted Cholesky.

    Args:
        moments: Products of bands, positive semi-definite, shape ``(C, C)``.
        n: How many, 1 to C.
        first: The first band; None takes the longest.

    Returns:
        The bands in order, and the squared residual of each when it was chosen, shape ``(n,)``.
    """
    residual = np.diag(moments).copy()
    floor = ROUNDING * np.maximum(residual, residual.max() * ROUNDING)
    factors = np.zeros((n, len(moments)))
    free = np.ones(len(moments), bool)
    chosen: list[int] = []
    heights = np.zeros(n)
    for step in range(n):
        band = best(residual, free) if step or first is None else first
        free[band] = False
        chosen.append(band)
        heights[step] = residual[band]
        if residual[band] > 0:
            row = moments[band] - factors[:step, band] @ factors[:step]
            factors[step] = row / np.sqrt(residual[band])
            residual = residual - factors[step] ** 2
            residual[residual < floor] = 0
    return chosen, heights


def largest_chain(moments: Matrix, n: int) -> list[int]:
    """Return the chain of the largest volume over all first bands; of equals the lower first.

    All chains grow together, in blocks that bound the memory.
    """
    count = len(moments)
    floor = ROUNDING * np.maximum(np.diag(moments), np.diag(moments).max() * ROUNDING)
    best_key, best_chain = (-1, -np.inf), np.arange(n)
    block = max(1, 2_000_000 // (n * count))
    for begin in range(0, count, block):
        band = np.arange(begin, min(begin + block, count))
        rows = np.arange(len(band))
        residual = np.tile(np.diag(moments), (len(band), 1))
        factors = np.zeros((len(band), n, count))
        free = np.ones((len(band), count), bool)
        chains = np.zeros((len(band), n), int)
        heights = np.zeros((len(band), n))
        for step in range(n):
            if step:
                band = _first_largest(residual, free)
            free[rows, band] = False
            chains[:, step], heights[:, step] = band, residual[rows, band]
            known = factors[:, :step]
            row = moments[band] - np.einsum("bs,bsc->bc", known[rows, :, band], known)
            scale = np.divide(
                1.0, np.sqrt(heights[:, step]), out=np.zeros(len(band)), where=heights[:, step] > 0
            )
            factors[:, step] = row * scale[:, None]
            residual = residual - factors[:, step] ** 2
            residual[residual < floor] = 0
        for chain, height in zip(chains, heights, strict=True):
            positive = height[height > 0]
            key = (len(positive), round(float(np.log(positive).sum()), 9))
            if key > best_key:
                best_key, best_chain = key, chain
    return [int(i) for i in best_chain]


def _first_largest(values: Matrix, free: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return per row the first of the largest free values, as :func:`best` does for one row."""
    largest = np.where(free, values, 0).max(axis=1, keepdims=True)
    equal = free & (values >= largest * (1 - 1e-10))
    first: NDArray[np.intp] = equal.argmax(axis=1)
    return first


@dataclass
class LcmvBcc(StatisticsStrategy):
    """Constrained band selection: the bands that filters made for one band find in all others.

    For each band the filter of least output energy that answers 1 to this band is made; the score
    is the sum of its answers to the other bands, highest first. In the paper the energy matrix is
    pixels by pixels and is inverted as it stands; with more pixels than bands it is singular and
    any inverse makes every score 0. A diagonal load solves both: the answers then follow exactly
    from the products of bands, whatever the number of pixels.

    The paper's LCMV form replaces a band's vector by the rows of its image to save memory, which
    sets of specimens do not share; this is its vector form (CEM), which needs no such saving here.

    Source: Chang, Wang 2006, "Constrained band selection for hyperspectral imagery", section II-B
        (band correlation constraint).
    """

    name: ClassVar[str] = "lcmv_bcc"
    classic: ClassVar[bool] = True

    load: float = 1e-4
    """Diagonal load in units of the bands' mean square, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.load > 0:
            raise BandError(f"bands.load is {self.load}; give a number above 0.")

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> NDArray[np.intp]:
        scores = constraint_scores(second_moments(statistics), self.load)
        return top(self._untied(scores), self.n)


def constraint_scores(products: Matrix, load: float) -> Vector:
    """Return the sum over other bands of the answers of each band's filter, shape ``(C,)``.

    With B the bands as columns and R = B B' / C + load, the filter is w_l = R^-1 b_l /
    (b_l' R^-1 b_l). By the push-through identity B' R^-1 B = G (G / C + load)^-1, G = B' B.

    Args:
        products: Mean products of bands over pixels, shape ``(C, C)``.
        load: In units of the mean of the diagonal.
    """
    count = len(products)
    level = float(np.trace(products)) / count or 1.0
    answers = np.linalg.solve(products / count + load * level * np.eye(count), products)
    own = np.diag(answers)
    totals = answers.sum(axis=0) - own
    scores: Vector = np.divide(totals, own, out=np.zeros(count), where=own > 0)
    return scores
