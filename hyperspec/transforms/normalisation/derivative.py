"""The Savitzky-Golay derivative on any axis, as one matrix."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.transforms.normalisation.pixelwise import Pixelwise


class Derivative(Pixelwise):
    """First derivative over nm by local polynomials, in units of its own spread in training.

    The derivative in reflectance per nm is of the order of 0.001, which no network starts well
    from. One gain for all bands brings its root mean square deviation over the training part to
    1 and keeps the derivative's shape. A constant spectrum becomes zeros, so does a single
    band. The matrix ``(n, n)`` is that of :func:`fit_derivative`.
    """

    def __init__(self, matrix: NDArray[np.float64]) -> None:
        super().__init__()
        self.matrix: Tensor
        self.register_buffer("matrix", torch.tensor(matrix, dtype=torch.float32))

    def normalise(self, x: Tensor) -> Tensor:
        """Differentiate along dimension 1; see :class:`Pixelwise`."""
        # Rows sum to 0. Taking off a spectrum's mean first makes that exact in float32 too.
        centred = x - x.mean(dim=1, keepdim=True)
        return torch.einsum("jn,bnhw->bjhw", self.matrix.to(x.dtype), centred)


def fit_derivative(
    statistics: SpectralStatistics, window: int = 11, polyorder: int = 2
) -> NDArray[np.float64]:
    """Return the derivative's matrix with its gain, shape ``(n, n)``.

    Statistics are of the training part, restricted to the n selected bands; for the others see
    :func:`savgol_matrix`.
    """
    matrix = savgol_matrix(statistics.axis.wavelengths_nm, window, polyorder)
    # The covariance of M x is M cov(x) M^T: no second pass over the spectra.
    variance = np.einsum("ij,jk,ik->i", matrix, statistics.covariance, matrix, optimize=True)
    spread = float(np.sqrt(np.maximum(variance, 0).mean()))
    return matrix / spread if spread > 0 else matrix


def savgol_matrix(
    wavelengths_nm: NDArray[np.float64], window: int = 11, polyorder: int = 2
) -> NDArray[np.float64]:
    """Return the matrix whose product with a spectrum is its smoothed first derivative.

    For each band a polynomial is fitted by least squares to the ``window`` neighbouring bands and
    differentiated at the band's centre. At the ends the window stays inside the axis, as SciPy's
    ``mode="interp"`` does. On an evenly spaced axis this is the Savitzky-Golay filter.

    Args:
        wavelengths_nm: Band centres in nanometres, any order, shape ``(n,)``.
        window: Bands per polynomial; all of them when there are fewer.
        polyorder: Degree; lowered to what the window's distinct centres can carry.

    Returns:
        Shape ``(n, n)``, per nm; zeros where a window has fewer than two distinct centres.

    Source: Savitzky, Golay 1964, "Smoothing and differentiation of data by simplified least
        squares procedures"; the least-squares form of its appendix for uneven spacing.
    """
    order = np.argsort(wavelengths_nm, kind="stable")
    centres = wavelengths_nm[order]
    count = len(centres)
    width = min(window, count)
    matrix = np.zeros((count, count))
    for band in range(count):
        start = min(max(band - width // 2, 0), count - width)
        part = slice(start, start + width)
        degree = min(polyorder, len(np.unique(centres[part])) - 1)
        if degree < 1:
            continue
        # In units of the window's reach, so that powers of hundreds of nm do not meet 1.
        offset = centres[part] - centres[band]
        reach = float(np.abs(offset).max())
        powers = np.vander(offset / reach, degree + 1, increasing=True)
        matrix[order[band], order[part]] = np.linalg.pinv(powers)[1] / reach
    return matrix
