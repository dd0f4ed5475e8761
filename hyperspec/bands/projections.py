"""Strategies that reduce instead of select: n channels, each a fixed weighted sum of all bands.

The matrix is fitted on the training part alone and travels in the :class:`BandProjection`.
"""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import CountedStrategy, Strategy, Vector
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.band_projection import BandProjection
from hyperspec.spectra.selection import ascending
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError

log = logging.getLogger(__name__)


class ChannelStrategy(Strategy):
    """A rule that gives channels, each a fixed weighted sum of bands, instead of bands."""

    @abstractmethod
    def select(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None = None
    ) -> BandProjection:
        """Make the projection; see :meth:`Strategy.select`."""

    def _indices(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None
    ) -> tuple[int, ...]:
        return ascending(axis.good_indices)  # what is read unless `select` says less


@dataclass
class ProjectionStrategy(CountedStrategy, ChannelStrategy):
    """A rule that maps an axis, and training statistics where it needs them, to n channels."""

    def select(
        self, axis: SpectralAxis, statistics: SpectralStatistics | None = None
    ) -> BandProjection:
        """Make the projection: every good band is read, n channels come out.

        Args:
            axis: The axis to project; bad bands are never read.
            statistics: Statistics of the training part on that axis, where the rule needs them.

        Raises:
            BandError: If the axis or the statistics cannot give what was asked for.
        """
        self.check_axis(axis)
        order, statistics = self._arranged(axis, statistics)
        matrix = self._matrix(axis.wavelengths_nm[order], statistics)
        assert matrix.shape == (self.n, len(order)), f"{self.name} gave {matrix.shape}"
        channel_order = np.argsort(order)
        return BandProjection(
            tuple(int(i) for i in order[channel_order]),
            axis,
            self.name,
            asdict(self),
            matrix[:, channel_order],
        )

    def _choose(
        self, wavelengths_nm: Vector, statistics: SpectralStatistics | None
    ) -> Sequence[int]:
        return range(len(wavelengths_nm))  # all of them are read

    @abstractmethod
    def _matrix(self, wavelengths_nm: Vector, statistics: SpectralStatistics | None) -> Vector:
        """Return the weights ``(n, C)`` over the good bands, which arrive sorted by nm."""


@dataclass
class Binned(ProjectionStrategy):
    """N boxes of about equal width in nm that together cover the axis: each the mean of its bands.

    The resolution of ``uniform`` with all the light, which tells 'more bands' from 'less noise'.
    """

    name: ClassVar[str] = "binned"

    def _matrix(self, wavelengths_nm: Vector, statistics: SpectralStatistics | None) -> Vector:
        edges = box_edges(wavelengths_nm, self.n)
        matrix = np.zeros((self.n, len(wavelengths_nm)))
        for row, start, stop in zip(matrix, edges[:-1], edges[1:], strict=True):
            row[start:stop] = 1 / (stop - start)
        return matrix


@dataclass
class PcaProjection(ProjectionStrategy):
    """The n leading principal components of the training spectra.

    Rows are unit eigenvectors of the training part's merged covariance, largest variance first,
    each with its largest weight positive. The mean is not subtracted: the map stays linear, and
    ``data.normalisation=zscore`` takes it off per channel.

    Source: Pearson 1901; Jolliffe 2002, "Principal Component Analysis", chapter 2.
    """

    name: ClassVar[str] = "pca_projection"
    needs_statistics: ClassVar[bool] = True

    def _matrix(self, wavelengths_nm: Vector, statistics: SpectralStatistics | None) -> Vector:
        assert statistics is not None  # _checked has refused it
        _, vectors = np.linalg.eigh(statistics.covariance)  # ascending
        leading = vectors[:, ::-1][:, : self.n].T
        largest = np.abs(leading).argmax(axis=1)
        signs: Vector = np.sign(leading[np.arange(self.n), largest])
        return leading * signs[:, None]


@dataclass
class NmfProjection(ProjectionStrategy):
    """N non-negative components of the training spectra as response curves, in order of nm.

    A factorisation ``X = A H`` with ``A, H >= 0`` of a seeded draw of training spectra gives the
    components H; each is scaled to sum to 1 and used as a response, so that a channel is the mean
    reflectance seen through its component. (The factors A themselves are not linear in X: they
    solve a non-negative least-squares problem per pixel and make no fixed convolution.)

    Source: Lee & Seung 1999, "Learning the parts of objects by non-negative matrix factorization";
        solved by coordinate descent as in scikit-learn.
    """

    name: ClassVar[str] = "nmf_projection"
    needs_statistics: ClassVar[bool] = True

    seed: int = 0
    """Seed of the draw of spectra and of the factorisation's start, 0 or above."""

    num_samples: int = 2000
    """Largest number of training spectra that are factorised, at least 2."""

    max_iter: int = 200
    """Largest number of sweeps of the solver, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, least in (("seed", 0), ("num_samples", 2), ("max_iter", 1)):
            if getattr(self, key) < least:
                raise BandError(
                    f"bands.{key} is {getattr(self, key)}; give a whole number of at least {least}."
                )

    def _matrix(self, wavelengths_nm: Vector, statistics: SpectralStatistics | None) -> Vector:
        assert statistics is not None  # _checked has refused it
        components = self._components(statistics.samples)
        totals = components.sum(axis=1, keepdims=True)
        # A component that the solver has emptied says nothing: an even response takes its place.
        even = np.full_like(components, 1 / components.shape[1])
        safe = np.where(totals > 0, totals, 1.0)
        matrix = np.where(totals > 0, components / safe, even)
        return matrix[np.argsort(matrix @ wavelengths_nm, kind="stable")]

    def _components(self, samples: NDArray[np.float32]) -> Vector:
        if len(samples) < 2:
            raise BandError(
                f"bands={self.name} factorises training spectra, but the statistics hold "
                f"{len(samples)} of them. Gather them with num_samples of at least 2."
            )
        # These take a second to import, and a config of another strategy needs neither.
        from sklearn.decomposition import NMF
        from sklearn.exceptions import ConvergenceWarning

        rng = np.random.default_rng(self.seed)
        if len(samples) > self.num_samples:
            samples = samples[np.sort(rng.choice(len(samples), self.num_samples, replace=False))]
        # Calibration can give reflectance slightly below 0.
        spectra = np.maximum(samples.astype(np.float64), 0)
        start = "nndsvda" if self.n <= min(spectra.shape) else "random"
        solver = NMF(self.n, init=start, random_state=self.seed, max_iter=self.max_iter)
        with warnings.catch_warnings():
            # The responses need no exact optimum; a longer descent is the user's max_iter.
            warnings.simplefilter("ignore", ConvergenceWarning)
            solver.fit(spectra)
        if solver.n_iter_ >= self.max_iter:
            log.info("bands=%s stopped at bands.max_iter=%d", self.name, self.max_iter)
        return np.asarray(solver.components_, np.float64)


def box_edges(wavelengths_nm: Vector, n: int) -> list[int]:
    """Return where n neighbouring boxes start and end, n + 1 positions from 0 to C.

    Equal widths in nm, each band standing for the stretch up to the middles between it and its
    neighbours; a box that would hold no band takes the nearest one from its neighbour.

    Args:
        wavelengths_nm: Band centres in ascending order, nanometres, shape ``(C,)``.
        n: Number of boxes, 1 to C.
    """
    count = len(wavelengths_nm)
    gaps = np.diff(wavelengths_nm)
    # The outermost bands reach as far outwards as inwards.
    first, last = (gaps[0], gaps[-1]) if count > 1 else (1.0, 1.0)
    low, high = wavelengths_nm[0] - first / 2, wavelengths_nm[-1] + last / 2
    inner = low + (high - low) * np.arange(1, n) / n
    # 1e-9: on an even axis an edge may fall on a band's centre up to rounding.
    places = np.searchsorted(wavelengths_nm, inner - 1e-9 * (high - low))
    edges = [0, *(int(p) for p in places), count]
    for i in range(1, n):
        edges[i] = max(edges[i], edges[i - 1] + 1)
    for i in range(n - 1, 0, -1):
        edges[i] = min(edges[i], edges[i + 1] - 1)
    return edges
