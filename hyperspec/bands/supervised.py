"""Strategies that look at the classes of the training part."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import StatisticsStrategy, Vector, best, check_choice, top
from hyperspec.bands.clustered import gaussian_information
from hyperspec.bands.geometry import Matrix
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError


@dataclass
class Fisher(StatisticsStrategy):
    """Bands in which class means lie far apart beside the spread within the classes.

    Source: Fisher 1936, "The use of multiple measurements in taxonomic problems": for each pair of
        classes (m_a - m_b)^2 / (s_a^2 + s_b^2).
    """

    name: ClassVar[str] = "fisher"
    supervised: ClassVar[bool] = True

    pairs: str = "mean"
    """mean ranks by the mean ratio over all pairs of classes, max by the largest; cover gives each
    band in turn to the pair that the chosen ones separate least. A window that tells only two
    species apart drowns in the mean, and max may spend all n bands on one window."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("pairs", self.pairs, ("mean", "max", "cover"))

    def _rank(
        self, wavelengths_nm: Vector, statistics: SpectralStatistics
    ) -> list[int] | NDArray[np.intp]:
        ratios = fisher_ratios(statistics)
        scores = self._untied(ratios.max(axis=0) if self.pairs == "max" else ratios.mean(axis=0))
        return cover(ratios, self.n) if self.pairs == "cover" else top(scores, self.n)


def fisher_ratios(statistics: SpectralStatistics) -> Matrix:
    """Return Fisher's ratio for each pair of classes and band, shape ``(pairs, C)``."""
    classes = list(statistics.classes.values())
    # A band without spread in either class would divide by 0; the spread of float32 rounding is
    # the least that reflectance can have.
    least = (np.finfo(np.float32).eps * np.maximum(np.abs(statistics.mean), 1e-3)) ** 2
    return np.stack(
        [
            (one.mean - other.mean) ** 2 / (one.variance + other.variance + least)
            for one, other in combinations(classes, 2)
        ]
    )


def cover(ratios: Matrix, n: int) -> list[int]:
    """Give each band in turn to the pair of classes whose ratios add up to the least so far.

    Ratios are 0 or above, shape ``(pairs, C)``; n is 1 to C.
    """
    free = np.ones(ratios.shape[1], bool)
    gained = np.zeros(ratios.shape[0])
    chosen = []
    for _ in range(n):
        # Of pairs that have gained the same, the one that is hardest to separate goes first.
        hardness = np.where(free, ratios, 0).max(axis=1)
        pair = int(np.lexsort((hardness, gained))[0])
        band = best(ratios[pair], free)
        free[band] = False
        gained += ratios[:, band]
        chosen.append(band)
    return chosen


@dataclass
class MutualInformation(StatisticsStrategy):
    """Bands whose value tells most about the class.

    Measured on the cached class histograms, hence on all pixels: their bins are joined to
    ``levels`` levels of about equal counts, which makes the measure the same for dark and bright
    bands.

    Source: Guo, Gunn, Damper, Nelson 2006, "Band selection for hyperspectral image classification
        using mutual information", eq. 1.
    """

    name: ClassVar[str] = "mutual_information"
    classic: ClassVar[bool] = True
    supervised: ClassVar[bool] = True

    levels: int = 32
    """Levels of a band's values that are told apart, 2 or above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_levels(self.levels)

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> NDArray[np.intp]:
        return top(self._untied(class_information(statistics, self.levels)), self.n)


@dataclass
class Mrmr(StatisticsStrategy):
    """Bands that tell much about the class and little about each other, chosen one by one.

    Relevance is :class:`MutualInformation`'s, redundancy the mean Gaussian mutual information with
    the bands chosen so far. The sets are nested in n.

    Source: Peng, Long, Ding 2005, "Feature selection based on mutual information: criteria of
        max-dependency, max-relevance, and min-redundancy", eq. 6; quotient: Ding, Peng 2005.
    """

    name: ClassVar[str] = "mrmr"
    supervised: ClassVar[bool] = True

    scheme: str = "quotient"
    """quotient divides relevance by redundancy, difference subtracts it."""

    levels: int = 32
    """Levels of a band's values that relevance tells apart, 2 or above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_levels(self.levels)
        check_choice("scheme", self.scheme, ("quotient", "difference"))

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> list[int]:
        relevance = self._untied(class_information(statistics, self.levels))
        information = gaussian_information(statistics.correlation)
        return relevant_chain(relevance, information, self.n, quotient=self.scheme == "quotient")


def relevant_chain(relevance: Vector, information: Matrix, n: int, *, quotient: bool) -> list[int]:
    """Choose bands one by one by relevance against the mean information shared with the chosen.

    Args:
        relevance: Shape ``(C,)``, 0 or above.
        information: Mutual information of bands, shape ``(C, C)``, 0 or above.
        n: How many, 1 to C.
        quotient: Whether to divide instead of to subtract.
    """
    free = np.ones(len(relevance), bool)
    shared = np.zeros(len(relevance))
    chosen: list[int] = []
    for step in range(n):
        redundancy = shared / max(step, 1)
        if step == 0:
            scores = relevance
        elif quotient:
            # 1e-3 nats: below it two bands are independent for all purposes.
            scores = relevance / (redundancy + 1e-3)
        else:
            scores = relevance - redundancy
        band = best(scores, free)
        free[band] = False
        shared += information[band]
        chosen.append(band)
    return chosen


def class_information(statistics: SpectralStatistics, levels: int) -> Vector:
    """Return the mutual information of each band's level and the class in nats, shape ``(C,)``.

    Args:
        statistics: With a histogram per class.
        levels: Most levels that the pooled histogram is joined to.
    """
    histograms = statistics.telling_histograms
    counts = np.stack([histograms[name] for name in statistics.classes])  # (K, C, bins)
    pooled = counts.sum(axis=0)
    before = pooled.cumsum(axis=1) - pooled / 2
    level = np.floor(before * levels / pooled.sum(axis=1, keepdims=True)).astype(int)
    level = np.minimum(level, levels - 1)
    joined = np.zeros((len(counts), pooled.shape[0], levels))
    bands = np.arange(pooled.shape[0])[:, None]
    for one, table in zip(joined, counts, strict=True):
        np.add.at(one, (bands, level), table)
    joint = joined / joined.sum(axis=(0, 2))[None, :, None]
    independent = joint.sum(axis=2, keepdims=True) * joint.sum(axis=0, keepdims=True)
    ratio = np.divide(joint, independent, out=np.ones_like(joint), where=joint > 0)
    information: Vector = (joint * np.log(ratio)).sum(axis=(0, 2))
    return np.where(information > 1e-12, information, 0.0)  # below is rounding of the sums


def _check_levels(levels: int) -> None:
    if levels < 2:
        raise BandError(f"bands.levels is {levels}; give 2 levels or more, for example 32.")
