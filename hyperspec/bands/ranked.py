"""Strategies that score each band on its own and take the n best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import StatisticsStrategy, Vector, check_choice, top
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError


@dataclass
class Variance(StatisticsStrategy):
    """The n bands of the highest variance over training pixels."""

    name: ClassVar[str] = "variance"
    classic: ClassVar[bool] = True

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> NDArray[np.intp]:
        return top(self._untied(statistics.variance), self.n)


@dataclass
class Pca(StatisticsStrategy):
    """MVPCA: the n bands that load highest on the leading principal components.

    Source: Chang, Du, Sun, Althouse 1999, "A joint band prioritization and band-decorrelation
        approach to band selection for hyperspectral image classification", section III-A
        (maximum-variance PCA).
    """

    name: ClassVar[str] = "pca"
    classic: ClassVar[bool] = True

    explained: float = 0.95
    """Share of the variance that the leading components hold, above 0 to 1. At 1 the score of a
    band is simply its variance."""

    scale: str = "covariance"
    """covariance, or correlation to give every band the same weight."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.explained <= 1:
            raise BandError(
                f"bands.explained is {self.explained}; give a share of the variance above 0 and up "
                "to 1, for example 0.95."
            )
        check_choice("scale", self.scale, ("covariance", "correlation"))

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> NDArray[np.intp]:
        if self.scale == "covariance":
            matrix = statistics.covariance
        else:
            # A constant band has no variance to load on, whatever the scale.
            matrix = statistics.correlation * (statistics.variance > 0)
        scores = mvpca_scores(matrix, self.explained) * (statistics.variance > 0)
        return top(self._untied(scores), self.n)


@dataclass
class Entropy(StatisticsStrategy):
    """The n bands whose histogram over training pixels has the highest entropy.

    Source: Shannon 1948; as a band ranking Bajcsy, Groves 2004, "Methodology for hyperspectral
        band selection", section on information entropy.
    """

    name: ClassVar[str] = "entropy"
    classic: ClassVar[bool] = True

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> NDArray[np.intp]:
        return top(self._untied(entropies(statistics)), self.n)


def entropies(statistics: SpectralStatistics) -> Vector:
    """Return the entropy of each band's histogram in nats, shape ``(C,)``.

    Histograms of raw counts are fitted to their own range: see ``telling_histograms`` of
    :class:`hyperspec.spectra.statistics.SpectralStatistics`.
    """
    counts = statistics.telling_histograms[""]
    share = counts / counts.sum(axis=1, keepdims=True)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    entropy: Vector = -(share * logs).sum(axis=1)
    return entropy


def mvpca_scores(matrix: Vector, explained: float) -> Vector:
    """Return score_j = sum_i lambda_i v_ij^2 over the leading components, shape ``(C,)``.

    Args:
        matrix: Covariance or correlation, symmetric, shape ``(C, C)``.
        explained: The components are the fewest that hold this share of the trace, 0 to 1.
    """
    values, vectors = np.linalg.eigh(matrix)  # ascending
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    held = np.cumsum(values)
    # 1e-12: the last sum and the trace differ by rounding, and explained=1 means all of them.
    num_leading = 1 + int(np.searchsorted(held, (explained - 1e-12) * held[-1]))
    if explained == 1:
        num_leading = len(values)
    scores: Vector = np.square(vectors[:, :num_leading]) @ values[:num_leading]
    return scores
