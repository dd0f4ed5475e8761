"""Normalisations of single spectra: SNV, unit length, derivative and continuum removal."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import AxisError

# A spectrum whose spread or length is below this share of its largest value holds nothing but
# float32 rounding.
_RELATIVE_ZERO = 1e-6


class Normalisation(nn.Module, ABC):
    """Maps reflectance ``(B, n, H, W)`` to normalised values of the same shape and type."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise a batch.

        Args:
            x: Reflectance, shape ``(B, n, H, W)``.
            mask: True on the specimen, shape ``(B, 1, H, W)``; None means everywhere.
        """

    @property
    def per_band_affine(self) -> tuple[Tensor, Tensor] | None:
        """Scale and offset per band, each ``(n,)``, where ``scale * x + offset`` says it all."""
        return None


class Pixelwise(Normalisation):
    """A normalisation of single spectra: background pixels become 0 and are never looked at."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise the foreground's spectra; see :class:`Normalisation`."""
        # Half precision cannot hold the sums over 408 bands, whatever autocast prefers.
        with torch.autocast(device_type=x.device.type, enabled=False):
            values = x.to(torch.promote_types(x.dtype, torch.float32))
            if mask is None:
                return self.normalise(values).to(x.dtype)
            # Before as well as after: the background may hold NaN.
            values = self.normalise(torch.where(mask, values, 0.0))
            return torch.where(mask, values, 0.0).to(x.dtype)

    @abstractmethod
    def normalise(self, x: Tensor) -> Tensor:
        """Normalise spectra along dimension 1 of ``(B, n, H, W)``, float32 or float64."""


class Snv(Pixelwise):
    """Standard normal variate: each spectrum minus its mean, over its standard deviation.

    A constant spectrum, and any spectrum of one band, becomes zeros.

    Source: Barnes, Dhanoa, Lister 1989, "Standard normal variate transformation and de-trending of
        near-infrared diffuse reflectance spectra", eq. 1 (divisor n - 1).
    """

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise spectra along dimension 1; see :class:`Pixelwise`."""
        if x.shape[1] == 1:
            return torch.zeros_like(x)
        centred = x - x.mean(dim=1, keepdim=True)
        deviation = centred.square().sum(dim=1, keepdim=True).div(x.shape[1] - 1).sqrt()
        return divide(centred, deviation, x)


class UnitLength(Pixelwise):
    """Each spectrum over its Euclidean length; a spectrum of zeros stays zeros."""

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise spectra along dimension 1; see :class:`Pixelwise`."""
        return divide(x, x.norm(dim=1, keepdim=True), x)


def divide(values: Tensor, divisor: Tensor, spectra: Tensor) -> Tensor:
    """Divide, giving 0 where the divisor is nothing beside the spectrum's largest value."""
    smallest = spectra.abs().amax(dim=1, keepdim=True) * _RELATIVE_ZERO
    usable = divisor > smallest
    return torch.where(usable, values / torch.where(usable, divisor, 1.0), 0.0)


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


class ContinuumRemoval(Pixelwise):
    """Band depth: 1 - reflectance / upper convex hull over nm, 0 to 1.

    Negative reflectance, which only noise can give, counts as 0. A constant spectrum, and any
    spectrum of one or two bands, becomes zeros; so does a spectrum of zeros.

    Args:
        wavelengths_nm: Band centres in nanometres, distinct, any order, shape ``(n,)``.

    Raises:
        AxisError: If two bands have the same centre: the hull is a function of nm.

    Source: Clark, Roush 1984, "Reflectance spectroscopy: quantitative analysis techniques for
        remote sensing applications" (band depth, eq. 32).
    """

    def __init__(self, wavelengths_nm: NDArray[np.float64]) -> None:
        super().__init__()
        order = np.argsort(wavelengths_nm)
        centres = wavelengths_nm[order]
        twins = np.flatnonzero(np.diff(centres) == 0)
        if twins.size:
            raise AxisError(
                f"Continuum removal needs distinct band centres, but two selected bands lie at "
                f"{centres[twins[0]]:.2f} nm. Leave one out, or take another normalisation."
            )
        self.order: Tensor
        self.inverse: Tensor
        self.position: Tensor
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("inverse", torch.tensor(np.argsort(order)))
        # 0 to 1 over the axis: the differences of large nm would lose digits in float32.
        span = max(float(centres[-1] - centres[0]), 1e-9)
        self.register_buffer(
            "position", torch.tensor((centres - centres[0]) / span, dtype=torch.float32)
        )

    def normalise(self, x: Tensor) -> Tensor:
        """Compute band depths along dimension 1; see :class:`Pixelwise`."""
        x = x.clamp_min(0)
        spectra = x.movedim(1, -1)[..., self.order]
        largest = spectra.amax(dim=-1, keepdim=True)
        scaled = spectra / torch.where(largest > 0, largest, 1.0)
        hull = upper_hull(self.position.to(x.dtype), scaled.reshape(-1, len(self.position)))
        hull = (hull.view_as(spectra) * largest)[..., self.inverse].movedim(-1, 1)
        return divide(hull - x, hull, x).clamp(0, 1)


def upper_hull(position: Tensor, spectra: Tensor) -> Tensor:
    """Return the smallest concave function above each spectrum ``(P, n)``, at its bands.

    Andrew's scan from the first to the last band, in ascending positions ``(n,)``, on all spectra
    at once. Each band remembers the hull's vertex before it; those that a later band puts below an
    edge are skipped.
    """
    values = spectra.T.contiguous()  # (n, P): each step of the scan reads rows
    previous = _scan(position, values)
    hull = values.clone()
    end = torch.full_like(previous[0], len(position) - 1)
    everyone = torch.arange(spectra.shape[0], device=spectra.device)
    for band in range(len(position) - 2, 0, -1):
        start = previous[end, everyone]
        end = torch.where(start == band, band, end)
        start = previous[end, everyone]
        share = (position[band] - position[start]) / (position[end] - position[start])
        edge = torch.lerp(values[start, everyone], values[end, everyone], share)
        hull[band] = torch.where(end == band, values[band], edge)
    return torch.maximum(hull, values).T


def _scan(position: Tensor, values: Tensor) -> Tensor:
    """Return each band's vertex before it on the hull of the bands up to it, shape ``(n, P)``."""
    previous = torch.full(values.shape, -1, dtype=torch.long, device=values.device)
    for band in range(1, len(position)):
        last = torch.full_like(previous[0], band - 1)
        rows = torch.arange(values.shape[1], device=values.device)
        while rows.numel():
            middle = last[rows]
            before = previous[middle, rows]
            base = values[before, rows]
            rise = (values[middle, rows] - base) * (position[band] - position[before])
            chord = (values[band, rows] - base) * (position[middle] - position[before])
            below = (before >= 0) & (rise <= chord)
            rows = rows[below]
            last[rows] = before[below]
        previous[band] = last
    return previous
