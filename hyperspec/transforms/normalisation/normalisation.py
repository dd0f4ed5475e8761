"""Normalisation of batches: by name, fitted on the training part or per pixel.

Every option maps ``(B, n, H, W)`` reflectance to the same shape and type. What is fitted or derived
from the wavelengths is a buffer, so that it travels in the ``state_dict``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.transforms.normalisation.continuum import ContinuumRemoval
from hyperspec.transforms.normalisation.derivative import Derivative, fit_derivative
from hyperspec.transforms.normalisation.pixelwise import Normalisation, Snv, UnitLength
from hyperspec.utils.errors import ConfigError

NORMALISATIONS = ("none", "minmax", "zscore", "snv", "l2", "derivative", "continuum")
FITTED = ("minmax", "zscore", "derivative")
"""Those that read statistics of the training part."""


class PerBand(Normalisation):
    """One scale and offset per band, each ``(n,)``, on foreground and background alike."""

    def __init__(self, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
        super().__init__()
        self.scale: Tensor
        self.offset: Tensor
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``scale * x + offset``; the mask plays no part."""
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        scale, offset = (v.to(values.dtype)[:, None, None] for v in (self.scale, self.offset))
        return torch.addcmul(offset, values, scale).to(x.dtype)

    @property
    def per_band_affine(self) -> tuple[Tensor, Tensor]:
        """Scale and offset per band, each ``(n,)``."""
        return self.scale, self.offset


class Identity(PerBand):
    """Reflectance as it is."""

    def __init__(self, num_bands: int) -> None:
        super().__init__(np.ones(num_bands), np.zeros(num_bands))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the batch itself."""
        return x


def build_normalisation(
    name: str,
    statistics: SpectralStatistics | None,
    wavelengths_nm: NDArray[np.float64],
    *,
    window: int = 11,
    polyorder: int = 2,
) -> Normalisation:
    """Build a normalisation by its name in the config.

    Args:
        name: One of ``NORMALISATIONS``.
        statistics: Statistics of the training part, restricted to the selection; needed by minmax,
            zscore and derivative, ignored by the others.
        wavelengths_nm: Centres of the selected bands in channel order, shape ``(n,)``.
        window: Bands per local polynomial of ``derivative``, at least 2.
        polyorder: Degree of that polynomial, 1 to window - 1.

    Raises:
        ConfigError: If the name is unknown, statistics are missing or of other bands, or window
            and polyorder do not fit.
    """
    wavelengths_nm = np.asarray(wavelengths_nm, np.float64)
    _check(name, statistics, wavelengths_nm, window, polyorder)
    if statistics is not None and name == "minmax":
        return _per_band(statistics.minimum, statistics.maximum - statistics.minimum)
    if statistics is not None and name == "zscore":
        return _per_band(statistics.mean, np.sqrt(statistics.variance))
    if statistics is not None and name == "derivative":
        return Derivative(fit_derivative(statistics, window, polyorder))
    return blank_normalisation(name, wavelengths_nm)


def blank_normalisation(name: str, wavelengths_nm: NDArray[np.float64]) -> Normalisation:
    """Build a normalisation of the right shape whose fitted buffers a ``state_dict`` fills.

    The arguments are those of :func:`build_normalisation`.
    """
    count = len(wavelengths_nm)
    blank: dict[str, Callable[[], Normalisation]] = {
        "none": lambda: Identity(count),
        "snv": Snv,
        "l2": UnitLength,
        "continuum": lambda: ContinuumRemoval(wavelengths_nm),
        "derivative": lambda: Derivative(np.zeros((count, count))),
    }
    return blank.get(name, lambda: PerBand(np.ones(count), np.zeros(count)))()


def _per_band(centre: NDArray[np.float64], width: NDArray[np.float64]) -> PerBand:
    # A band that is constant over the training part becomes 0 everywhere.
    scale = np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)
    return PerBand(scale, -centre * scale)


def _check(
    name: str,
    statistics: SpectralStatistics | None,
    wavelengths_nm: NDArray[np.float64],
    window: int,
    polyorder: int,
) -> None:
    if name not in NORMALISATIONS:
        raise ConfigError(
            f"data.normalisation is {name!r}; give one of {', '.join(NORMALISATIONS)}."
        )
    if name not in FITTED:
        return
    if statistics is None:
        raise ConfigError(
            f"data.normalisation={name} is fitted on the training part, but no statistics were "
            "given. Give them, or take none, snv, l2 or continuum."
        )
    given = statistics.axis.wavelengths_nm
    if given.shape != wavelengths_nm.shape or not np.allclose(given, wavelengths_nm, atol=1e-3):
        raise ConfigError(
            f"data.normalisation={name} was given statistics of {len(given)} bands that are not "
            f"the {len(wavelengths_nm)} selected ones. Restrict them first: "
            "statistics.restrict(selection.indices)."
        )
    if name == "derivative" and not 1 <= polyorder < window:
        raise ConfigError(
            f"The derivative's polyorder is {polyorder} and its window {window} bands; the order "
            "must be 1 at least and below the window."
        )
