"""A fixed linear projection of bands onto channels, which travels like a selection of bands."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.moments import Moments
from hyperspec.spectra.selection import BandSelection, band_widths
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError

FWHM_PER_SD = float(2 * np.sqrt(2 * np.log(2)))  # of a Gaussian
# Digits after the point that count in the hash: an eigenvector's last ones differ by platform.
HASH_DIGITS = 8
# Variance of a channel, relative to the bands' total, below which it is float64 rounding.
RELATIVE_ZERO = 1e-13
# Share of a channel's largest weight below which a band is not counted as covered by it.
COVERED = 0.01


@dataclass(frozen=True, eq=False)
class BandProjection(BandSelection):
    """A matrix over bands: n channels, each a weighted sum of the bands that are read.

    ``indices`` are the bands to read, C of them; ``len`` and ``wavelengths_nm`` speak of the n
    channels that come out. The channel's wavelength is the mean of the bands' centres weighed by
    the size of their weights: exact for a box, a mere label for a component of mixed signs.

    Args:
        matrix: Weights, shape ``(n, C)``, C the number of ``indices``, finite.

    Raises:
        BandError: If the matrix does not fit the bands or a channel has no weight at all.
    """

    matrix: NDArray[np.float64] = None  # type: ignore[assignment]  # required; the base has defaults

    def __post_init__(self) -> None:
        super().__post_init__()
        matrix = np.array(self.matrix, np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != len(self.indices) or not len(matrix):
            raise BandError(
                f"bands={self.strategy} gave a matrix of shape {matrix.shape} for "
                f"{len(self.indices)} bands; it needs one row per channel, one column per band."
            )
        if not (np.isfinite(matrix).all() and matrix.any(axis=1).all()):
            raise BandError(
                f"bands={self.strategy} gave a channel without a finite weight above 0. Ask for "
                "fewer channels (bands.n)."
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def wavelengths_nm(self) -> NDArray[np.float64]:
        """Effective centres of the channels, nanometres, shape ``(n,)``."""
        size = np.abs(self.matrix)
        centres: NDArray[np.float64] = size @ self.bands_nm / size.sum(axis=1)
        return centres

    @property
    def fwhm_nm(self) -> NDArray[np.float64]:
        """Widths of the channels' responses: of the Gaussian of the same spread, nanometres."""
        size = np.abs(self.matrix)
        shares = size / size.sum(axis=1, keepdims=True)
        own = (band_widths(self.axis)[list(self.indices)] / FWHM_PER_SD) ** 2
        spread = (self.bands_nm - self.wavelengths_nm[:, None]) ** 2
        widths: NDArray[np.float64] = FWHM_PER_SD * np.sqrt((shares * (spread + own)).sum(axis=1))
        return widths

    @cached_property
    def hash(self) -> str:
        """Twelve hex digits of bands, axis, strategy, parameters and matrix."""
        digest = hashlib.blake2b(BandSelection(*self._bands()).hash.encode(), digest_size=6)
        # + 0.0 turns -0.0 into 0.0
        digest.update((np.round(self.matrix, HASH_DIGITS) + 0.0).tobytes())
        return digest.hexdigest()

    def apply(self, planes: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the channels ``(..., n, H, W)`` of the read bands ``(..., C, H, W)``."""
        channels: NDArray[np.floating] = np.einsum("nc,...chw->...nhw", self.matrix, planes)
        return channels.astype(planes.dtype, copy=False)

    @property
    def coverage(self) -> float:
        """Share of the read bands that weigh in some channel, 0 to 1.

        A band weighs in a channel with at least a hundredth of its largest weight.
        """
        size = np.abs(self.matrix)
        used = (size >= COVERED * size.max(axis=1, keepdims=True)).any(axis=0)
        return float(used.mean())

    def redundancy(self, correlation: NDArray[np.float64]) -> float:
        """Return the mean absolute pairwise correlation of the channels, 0 to 1.

        Args:
            correlation: Covariance of all bands of the axis, shape ``(C, C)``; with a correlation
                matrix the channels are those of standardised bands.
        """
        if len(self) == 1:
            return 0.0
        inner = correlation[np.ix_(self.indices, self.indices)]
        covariance = self.matrix @ inner @ self.matrix.T
        deviation = np.sqrt(_variances(covariance, float(np.trace(inner))))
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        pairs = np.abs(covariance * scale[:, None] * scale)[np.triu_indices(len(self), 1)]
        return float(np.minimum(pairs, 1.0).mean())

    def statistics(self, statistics: SpectralStatistics) -> SpectralStatistics:
        """Return the statistics of the channels; see :func:`project_statistics`."""
        return project_statistics(statistics, self)

    def resolve(self, axis: SpectralAxis, tolerance_nm: float | None = None) -> BandProjection:
        """Find the same bands on another axis and keep their weights.

        Raises:
            BandError: If a band has no counterpart within the tolerance.
        """
        if axis == self.axis:
            return self
        found = BandSelection(*self._bands()).resolve(axis, tolerance_nm)
        return BandProjection(found.indices, axis, self.strategy, self.params, self.matrix)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, the matrix as nested lists."""
        return {**super().to_dict(), "matrix": self.matrix.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BandProjection:
        """Rebuild a projection from :meth:`to_dict`.

        Raises:
            BandError: If the content does not have the hash that it was saved with.
        """
        made = cls(
            tuple(values["indices"]),
            SpectralAxis.from_dict(values["axis"]),
            values["strategy"],
            values["params"],
            np.asarray(values["matrix"], np.float64),
        )
        made.check_hash(values["hash"])
        return made

    def _bands(self) -> tuple[tuple[int, ...], SpectralAxis, str, Mapping[str, Any]]:
        return self.indices, self.axis, self.strategy, self.params


def selection_from_dict(values: Mapping[str, Any]) -> BandSelection:
    """Rebuild a selection, or a projection, from its ``to_dict``.

    Raises:
        BandError: If the content does not have the hash that it was saved with.
    """
    return (BandProjection if "matrix" in values else BandSelection).from_dict(values)


def project_statistics(
    statistics: SpectralStatistics, projection: BandProjection
) -> SpectralStatistics:
    """Return the statistics of a projection's channels, from those of all bands of its axis.

    Mean and covariance by algebra, W m and W S W^T, for all spectra and per class. Smallest and
    largest values do not follow from those of the bands: they are the extremes over the seeded
    training samples, or, where there are none, the bounds that the bands' extremes imply.
    Histograms are left empty: nothing that works on channels reads them.
    """
    inner = statistics.restrict(list(projection.indices))
    samples = (inner.samples @ projection.matrix.T).astype(np.float32)
    labels = statistics.sample_labels
    return replace(
        inner,
        axis=SpectralAxis(projection.wavelengths_nm),
        moments=_project(inner.moments, projection.matrix, samples),
        classes={
            name: _project(moments, projection.matrix, samples[labels == name])
            for name, moments in inner.classes.items()
        },
        samples=samples,
    )


def _project(
    moments: Moments, matrix: NDArray[np.float64], samples: NDArray[np.float32]
) -> Moments:
    covariance = matrix @ moments.covariance @ matrix.T
    variances = _variances(covariance, float(np.trace(moments.covariance)))
    np.fill_diagonal(covariance, variances)
    if len(samples):
        low, high = (ends.astype(np.float64) for ends in (samples.min(0), samples.max(0)))
    else:
        up, down = np.maximum(matrix, 0), np.minimum(matrix, 0)
        low = up @ moments.minimum + down @ moments.maximum
        high = up @ moments.maximum + down @ moments.minimum
    mean = matrix @ moments.mean
    # Moments takes equal extremes to mean a constant band.
    low, high = (np.where(variances > 0, ends, mean) for ends in (low, high))
    return replace(
        moments,
        mean=mean,
        covariance=covariance,
        minimum=low,
        maximum=high,
        histogram=np.zeros((len(matrix), moments.histogram.shape[1]), np.int64),
    )


def _variances(covariance: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """Return the diagonal, 0 where it is rounding beside the bands' total variance."""
    variances = np.diag(covariance)
    return np.where(variances > RELATIVE_ZERO * total, variances, 0.0)
