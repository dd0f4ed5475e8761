"""Strategies of chemometrics that ask a partial least squares regression on the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import StatisticsStrategy, Vector, top
from hyperspec.bands.fixed import spread
from hyperspec.bands.geometry import ROUNDING, Matrix
from hyperspec.bands.projections import box_edges
from hyperspec.spectra.moments import Moments
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError, TiedError

Rows = NDArray[np.intp]
_MOST_ROWS = 2000  # training spectra that are cross-validated: more change no third digit
_KEPT_SHARE = 0.8  # of the rows in each Monte Carlo run of CARS, as in the paper


@dataclass(frozen=True, eq=False)
class PlsFit:
    """A partial least squares regression on standardised bands, component by component.

    Args:
        weights: Unit weights of the deflated bands, ``(C, A)``.
        rotations: What gives scores from the bands themselves, ``(C, A)``.
        answers: What each score says of each class, ``(K, A)``.
        explained: Sum of squares of the answers that each component explains, ``(A,)``.
    """

    weights: Matrix
    rotations: Matrix
    answers: Matrix
    explained: Vector

    def coefficients(self, count: int) -> Matrix:
        """Return the regression coefficients of the first components, ``(C, K)``."""
        return self.rotations[:, :count] @ self.answers[:, :count].T


def fit_pls(products: Matrix, answers: Matrix, count: int) -> PlsFit:
    """Fit from products alone, as many components as there is covariance for, ``count`` at most.

    Args:
        products: X'X of centred bands, shape ``(C, C)``.
        answers: X'Y with centred classes, shape ``(C, K)``.
        count: Most components.

    Source: Dayal, MacGregor 1997, "Improved PLS algorithms", algorithm 2; it gives the components
        of NIPALS.
    """
    left = answers.copy()
    floor = ROUNDING * float((answers**2).sum())
    scale = ROUNDING * max(float(np.trace(products)), 1e-300)
    weights: list[Vector] = []
    rotations: list[Vector] = []
    loadings: list[Vector] = []
    said: list[Vector] = []
    lengths: list[float] = []
    for _ in range(min(count, len(products))):
        if not (left**2).sum() > floor:
            break
        weight = left @ np.linalg.eigh(left.T @ left)[1][:, -1]
        weight = weight / np.linalg.norm(weight)
        rotation = weight.copy()
        for loading, before in zip(loadings, rotations, strict=True):
            rotation -= (loading @ weight) * before
        length = float(rotation @ products @ rotation)
        if not length > scale:
            break
        loading = products @ rotation / length
        answer = rotation @ left / length
        left = left - length * np.outer(loading, answer)
        weights.append(weight)
        rotations.append(rotation)
        loadings.append(loading)
        said.append(answer)
        lengths.append(length)
    bands, classes = answers.shape
    return PlsFit(
        np.reshape(weights, (-1, bands)).T,
        np.reshape(rotations, (-1, bands)).T,
        np.reshape(said, (-1, classes)).T,
        np.array([t * float(q @ q) for t, q in zip(lengths, said, strict=True)]),
    )


@dataclass
class PlsStrategy(StatisticsStrategy):
    """What the three have in common: standardised bands, classes as zeros and ones."""

    supervised: ClassVar[bool] = True

    components: int = 10
    """Most components (latent variables) of the regression, 1 or above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("components", self.components, 1)


@dataclass
class Vip(PlsStrategy):
    """Bands of the highest variable importance in projection.

    The regression is fitted on all pixels of the labelled training part, from their moments. A
    score of 1 is the average of all bands.

    Source: Chong, Jun 2005, "Performance of some variable selection methods when multicollinearity
        is present", eq. 4; Wold, Johansson, Cocchi 1993.
    """

    name: ClassVar[str] = "vip"

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> NDArray[np.intp]:
        return top(self._untied(importance_in_projection(statistics, self.components)), self.n)


def importance_in_projection(statistics: SpectralStatistics, components: int) -> Vector:
    """Return the variable importance in projection of each band, ``(C,)``; all 0 without a fit."""
    classes = list(statistics.classes.values())
    pooled = Moments.merge(classes)
    varies = pooled.variance > 0
    scale = np.sqrt(np.where(varies, pooled.variance, np.inf))
    products = pooled.covariance * (pooled.count - 1) / np.outer(scale, scale)
    offsets = [(one.mean - pooled.mean) * one.count / scale for one in classes]
    fit = fit_pls(products, np.stack(offsets, axis=1), components)
    if not fit.explained.sum() > 0:
        return np.zeros(len(products))
    share = fit.explained / fit.explained.sum()
    return np.asarray(np.sqrt(len(products) * (fit.weights**2 @ share)))


@dataclass
class Ipls(PlsStrategy):
    """Whole intervals of the axis, those on which a regression alone predicts the classes best.

    The axis is cut into intervals of equal width in nm; each gets a regression of its own, whose
    error is cross-validated, with as many components as make it least. Intervals are taken in order
    of that error until n bands are there; of the last one, bands spread evenly over it.

    Source: Norgaard, Saudland, Wagner, Nielsen, Munck, Engelsen 2000, "Interval partial
        least-squares regression (iPLS)"; joined in order of their errors, since n is given.
    """

    name: ClassVar[str] = "ipls"

    intervals: int = 20
    """Number of intervals, 1 or above; no more than there are bands."""

    folds: int = 5
    """Folds of the cross-validation, 2 or above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("intervals", self.intervals, 1)
        _at_least("folds", self.folds, 2)

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> list[int]:
        if self.n == len(wavelengths_nm):
            return list(range(self.n))
        spectra, codes = labelled_samples(self, statistics)
        folds = class_folds(self, codes, self.folds)
        edges = box_edges(wavelengths_nm, min(self.intervals, len(wavelengths_nm)))
        inside = [np.arange(*ends) for ends in pairwise(edges)]
        errors = np.array(
            [cross_validated(spectra[:, own], codes, folds, self.components) for own in inside]
        )
        self._untied_intervals(errors)
        chosen: list[int] = []
        for place in top(-errors, len(errors)):
            own, wanted = inside[place], self.n - len(chosen)
            if len(own) > wanted:
                own = own[spread(wavelengths_nm[own], wanted)] if wanted else own[:0]
            chosen += own.tolist()
        return chosen

    def _untied_intervals(self, errors: Vector) -> None:
        if len(errors) > 1 and len(set(np.round(errors / errors.max(), 10).tolist())) == 1:
            raise TiedError(
                f"bands={self.name} gives all {len(errors)} intervals the same error "
                f"({errors[0]:.4g}), so that any would be arbitrary. Give it more specimens or "
                "other labels to tell bands apart by, or take bands=uniform."
            )


@dataclass
class Cars(PlsStrategy):
    """Competitive adaptive reweighted sampling: bands that survive run after run by their weight.

    In each run a regression on a draw of the training spectra weighs the bands that are left by the
    size of its coefficients; an exponentially falling number of the heaviest stays, and of these a
    draw with replacement by weight. A chain ends when it would leave n bands or fewer (missing ones
    are those of most weight); the paper goes on to two and takes the size of least error, but here
    n is given. Of several chains that of the least cross-validated error is kept.

    Source: Li, Liang, Xu, Cao 2009, "Key wavelengths screening using competitive adaptive
        reweighted sampling method for multivariate calibration", eqs. 4 to 7.
    """

    name: ClassVar[str] = "cars"

    runs: int = 50
    """Sampling runs over which the number of bands falls from all to n, 2 or above."""

    chains: int = 5
    """Chains from different draws, of which the best is kept, 1 or above."""

    folds: int = 5
    """Folds of the cross-validation, 2 or above."""

    seed: int = 0
    """Seed of the draws, 0 or above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, least in (("runs", 2), ("chains", 1), ("folds", 2), ("seed", 0)):
            _at_least(key, getattr(self, key), least)

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> list[int]:
        if self.n == len(wavelengths_nm):
            return list(range(self.n))
        spectra, codes = labelled_samples(self, statistics)
        folds = class_folds(self, codes, self.folds)
        self._untied(band_weights_of(spectra, codes, self.components))
        found = []
        for chain in range(self.chains):
            rng = np.random.default_rng([self.seed, chain])
            chosen = self._chain(spectra, codes, rng)
            found.append(
                (cross_validated(spectra[:, chosen], codes, folds, self.components), chosen)
            )
        # Errors that agree to ten digits are equal, and the first of equals is kept.
        return list(found[top(-np.array([error for error, _ in found]), 1)[0]][1])

    def _chain(self, spectra: Matrix, codes: Rows, rng: np.random.Generator) -> list[int]:
        count = spectra.shape[1]
        left = np.arange(count)
        for run in range(1, self.runs + 1):
            rows = np.sort(rng.choice(len(codes), round(_KEPT_SHARE * len(codes)), replace=False))
            weights = band_weights_of(spectra[rows][:, left], codes[rows], self.components)
            if not weights.sum() > 0:  # of a draw that tells nothing
                continue
            # Eq. 5: from all bands in the first run to n in the last.
            allowed = max(round(count * (self.n / count) ** ((run - 1) / (self.runs - 1))), self.n)
            order = top(weights, min(allowed, len(left)))
            share = weights[order] / weights[order].sum()
            drawn = np.unique(rng.choice(len(order), len(order), p=share))
            if len(drawn) <= self.n:
                rest = np.setdiff1d(np.arange(len(order)), drawn)  # heaviest first, as `order` is
                kept = np.concatenate([drawn, rest])[: self.n]
                return sorted(int(i) for i in left[order[kept]])
            left = np.sort(left[order[drawn]])
        order = top(band_weights_of(spectra[:, left], codes, self.components), self.n)
        return sorted(int(i) for i in left[order])


def band_weights_of(spectra: Matrix, codes: Rows, components: int) -> Vector:
    """Return the size of the regression coefficients of bands, summed over classes, ``(C,)``."""
    bands, classes, _ = _centred(spectra, codes, np.arange(len(codes)))
    fit = fit_pls(bands.T @ bands, bands.T @ classes, components)
    return np.asarray(np.abs(fit.coefficients(components)).sum(axis=1))


def cross_validated(
    spectra: Matrix, codes: Rows, folds: Sequence[tuple[Rows, Rows]], components: int
) -> float:
    """Return the root mean square error of held-out rows at the best number of components.

    Args:
        spectra: Shape ``(M, C)``.
        codes: Class of each row as a number, ``(M,)``.
        folds: Rows to fit on and rows to score.
        components: Most components.
    """
    squares = np.zeros(components + 1)
    for inside, outside in folds:
        bands, classes, (mean, scale, share) = _centred(spectra, codes, inside)
        fit = fit_pls(bands.T @ bands, bands.T @ classes, components)
        truth = np.eye(len(share))[codes[outside]] - share
        scores = (spectra[outside] - mean) / scale @ fit.rotations
        for used in range(components + 1):
            # Where fewer components were to be had, more change nothing.
            error = truth - scores[:, :used] @ fit.answers[:, :used].T
            squares[used] += float((error**2).sum())
    return float(np.sqrt(squares[1:].min() / len(codes)))


def _centred(
    spectra: Matrix, codes: Rows, rows: Rows
) -> tuple[Matrix, Matrix, tuple[Vector, Vector, Vector]]:
    """Return standardised bands and centred classes of some rows, and what took them there."""
    own = spectra[rows]
    mean, scale = own.mean(axis=0), own.std(axis=0)
    # A constant band carries nothing; below this its spread is rounding.
    scale = np.where(scale > 1e-7 * np.maximum(np.abs(mean), 1e-12), scale, np.inf)
    classes = np.eye(int(codes.max()) + 1)[codes[rows]]
    share = classes.mean(axis=0)
    return (own - mean) / scale, classes - share, (mean, scale, share)


def labelled_samples(
    strategy: StatisticsStrategy, statistics: SpectralStatistics
) -> tuple[Matrix, Rows]:
    """Return kept training spectra of known class ``(M, C)`` with it as a number ``(M,)``.

    Raises:
        BandError: If the statistics hold none.
    """
    known = np.flatnonzero(statistics.sample_labels != "")
    if len(known) > _MOST_ROWS:
        drawn = np.random.default_rng(0).choice(len(known), _MOST_ROWS, replace=False)
        known = known[np.sort(drawn)]
    if not len(known):
        raise BandError(
            f"bands={strategy.name} cross-validates training spectra, but the statistics hold no "
            "labelled ones. Gather them with num_samples of at least 2."
        )
    names = sorted(statistics.classes)
    places = {name: code for code, name in enumerate(names)}
    codes = np.array([places[str(label)] for label in statistics.sample_labels[known]])
    return statistics.samples[known].astype(np.float64), codes


def class_folds(strategy: StatisticsStrategy, codes: Rows, count: int) -> list[tuple[Rows, Rows]]:
    """Return rows to fit on and rows to score: blocks of neighbours within each class.

    Spectra of one specimen lie side by side, so that blocks hold whole specimens but at their ends;
    folds drawn spectrum by spectrum would find each specimen on both sides.

    Raises:
        TiedError: If a class has a single spectrum, so that nothing of it can be held out.
    """
    rows = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    count = min(count, *(len(own) for own in rows))
    if count < 2:
        raise TiedError(
            f"bands={strategy.name} cross-validates, but a class has a single training spectrum. "
            "Give it more, or take bands=uniform."
        )
    blocks = [np.array_split(own, count) for own in rows]
    found = []
    for fold in range(count):
        outside = np.sort(np.concatenate([own[fold] for own in blocks]))
        found.append((np.setdiff1d(np.arange(len(codes)), outside), outside))
    return found


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise BandError(f"bands.{key} is {value}; give a whole number of at least {least}.")
