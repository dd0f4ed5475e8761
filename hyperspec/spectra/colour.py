"""What a cube looks like: CIE colour under daylight, or its nearest bands as red, green, blue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis

# The range of CIE 15 for colorimetry.
VISIBLE_NM = (380.0, 780.0)
RGB_NM = (650.0, 550.0, 450.0)
# Common red, green and blue bands of cameras with few bands lie within this distance of RGB_NM.
_RGB_TOLERANCE_NM = 30.0
# Pixels brighter than this quantile are shown white, where a picture needs exposure at all.
WHITE_QUANTILE = 0.995
# Luminance of the bright part, relative to a perfect white, that needs no exposure.
_WELL_EXPOSED = (0.25, 1.0)


@dataclass(frozen=True, eq=False)
class ColourWeights:
    """Weights that turn reflectance into CIE XYZ.

    Args:
        bands: Bands that contribute, shape ``(n,)``.
        weights: Their weights, shape ``(n, 3)``; a reflectance of 1 everywhere gives the white
            point of D65 with Y = 1.
        coverage: Share of the luminance (D65 times the luminosity function) that falls inside
            the axis, 0 to 1. Outside, the reflectance of the outermost band is assumed.
        range_nm: The part of 380 to 780 nm that the axis covers.
    """

    bands: NDArray[np.intp]
    weights: NDArray[np.float64]
    coverage: float
    range_nm: tuple[float, float]


def colour_weights(axis: SpectralAxis) -> ColourWeights | None:
    """Return the weights of the CIE 1931 2 degree observer under D65.

    The reflectance is interpolated linearly between the good bands to 1 nm, and continued with
    the outermost values beyond them.

    Args:
        axis: Band centres, in any order.

    Returns:
        The weights, None when fewer than two good bands lie within 380 to 780 nm.

    Source: CIE 15:2004, eq. 7.1; ASTM E308-15, 7.3.2.2 for missing ends.
    """
    low, high = VISIBLE_NM
    good = axis.good_indices
    order = good[np.argsort(axis.wavelengths_nm[good], kind="stable")]
    centres, first = np.unique(axis.wavelengths_nm[order], return_index=True)
    order = order[first]
    if ((centres >= low) & (centres <= high)).sum() < 2:
        return None
    nm, observed = _observer()
    # A hat function per band: the transpose of linear interpolation.
    right = np.clip(np.searchsorted(centres, nm), 1, len(centres) - 1)
    share = (nm - centres[right - 1]) / (centres[right] - centres[right - 1])
    share = np.clip(share, 0, 1)[:, None]
    weights = np.zeros((len(centres), 3))
    np.add.at(weights, right - 1, (1 - share) * observed)
    np.add.at(weights, right, share * observed)
    inside = (nm >= centres[0]) & (nm <= centres[-1])
    used = (weights != 0).any(axis=1)
    return ColourWeights(
        order[used],
        weights[used],
        float(observed[inside, 1].sum()),
        (max(low, float(centres[0])), min(high, float(centres[-1]))),
    )


def srgb_picture(xyz: NDArray[np.floating], exposure: float = 1.0) -> NDArray[np.uint8]:
    """Turn CIE XYZ into an sRGB picture.

    Args:
        xyz: Shape ``(3, H, W)``, white at Y = 1; NaN becomes black.
        exposure: Factor on the light.

    Returns:
        Shape ``(H, W, 3)``.
    """
    import colour

    values = np.nan_to_num(np.moveaxis(xyz, 0, -1).astype(np.float64) * exposure)
    return _encoded(np.clip(colour.XYZ_to_sRGB(values, apply_cctf_encoding=False), 0, 1))


def band_picture(planes: NDArray[np.floating], exposure: float | None = None) -> NDArray[np.uint8]:
    """Show three planes as red, green and blue.

    Args:
        planes: Shape ``(3, H, W)``; NaN becomes black.
        exposure: Factor on the light; None shows the 0.995 quantile white.
    """
    if exposure is None:
        exposure = 1 / bright_part(planes)
    light: NDArray[np.float64] = np.moveaxis(planes, 0, -1).astype(np.float64) * exposure
    return _encoded(np.clip(np.nan_to_num(light), 0, 1))


def exposure_of(luminance: NDArray[np.floating], is_reflectance: bool) -> float:
    """Return the factor that makes a picture neither black nor burnt; 1 where none is needed.

    Args:
        luminance: Y of the pixels, any shape; NaN where there are none.
        is_reflectance: Whether 1 means a perfect white. Counts are always scaled.
    """
    bright = bright_part(luminance)
    if is_reflectance and _WELL_EXPOSED[0] <= bright <= _WELL_EXPOSED[1]:
        return 1.0
    return 1 / bright


def bright_part(values: NDArray[np.floating]) -> float:
    """Return the 0.995 quantile of the finite values; 1 when nothing is above 0."""
    finite = values[np.isfinite(values)]
    bright = float(np.quantile(finite, WHITE_QUANTILE)) if finite.size else 0.0
    return bright if bright > 0 else 1.0


def nearest_bands(axis: SpectralAxis) -> list[int]:
    """Return the good bands nearest to 650, 550 and 450 nm.

    Where one of them is more than 30 nm away, three bands spread over the axis, longest first.
    """
    found = [axis.nearest(nm) for nm in RGB_NM]
    away = np.abs(axis.wavelengths_nm[found] - RGB_NM)
    if away.max() <= _RGB_TOLERANCE_NM:
        return found
    good = axis.wavelengths_nm[axis.good_indices]
    low, high = float(good.min()), float(good.max())
    return [axis.nearest(low + share * (high - low)) for share in (0.9, 0.5, 0.1)]


def _observer() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return 380 to 780 nm in steps of 1 and the weights there, so that Y of a white is 1."""
    import colour

    nm = np.arange(VISIBLE_NM[0], VISIBLE_NM[1] + 1)
    matching = colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"]
    daylight = colour.SDS_ILLUMINANTS["D65"]
    light = np.interp(nm, daylight.wavelengths, daylight.values)
    at = np.searchsorted(matching.wavelengths, nm)  # its table has steps of 1 nm
    observed = matching.values[at] * light[:, None]
    return nm, observed / observed[:, 1].sum()


def _encoded(linear: NDArray[np.float64]) -> NDArray[np.uint8]:
    import colour

    encoded = colour.cctf_encoding(linear, function="sRGB")
    return np.rint(np.clip(encoded, 0, 1) * 255).astype(np.uint8)
