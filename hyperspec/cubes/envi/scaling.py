"""What an ENVI header says of its values: gains, offsets and the scale factor.

ENVI's order: a stored value times its band's gain, plus its band's offset, is radiance (`data gain
values`) or reflectance (`data reflectance gain values`); divided by `reflectance scale factor`,
where there is one, it is reflectance from 0 to 1.

Source: NV5 Geospatial, "ENVI Header Files" and "Apply Gain and Offset".
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.envi.header import EnviHeader, short
from hyperspec.cubes.gains import Gains, gains_or_none
from hyperspec.utils.errors import CubeError

SCALE_KEY = "reflectance scale factor"
_RADIANCE = ("data gain values", "data offset values")
_REFLECTANCE = ("data reflectance gain values", "data reflectance offset values")


def scale_factor_of(header: EnviHeader, dtype: np.dtype[np.generic]) -> float:
    """Return the value that stands for a reflectance of 1.

    Raises:
        CubeError: If the factor is negative, not finite, or below 1 for floats, where both
            readings are possible.
    """
    factor = header.number(SCALE_KEY)
    if factor is None or factor in (0, 1):
        return 1.0
    if not (np.isfinite(factor) and factor > 0):
        raise CubeError(f"{header.path}: `{SCALE_KEY} = {factor:g}`; it must be a number above 0.")
    if factor > 1:
        return factor
    if dtype.kind == "f":
        raise CubeError(
            f"{header.path}: `{SCALE_KEY} = {factor:g}` for {dtype.newbyteorder('=')} values: "
            "stored values are divided by it, which would make them larger. Write the stored value "
            "that stands for a reflectance of 1."
        )
    # Divided by 0.0001, every integer but 0 would be a reflectance of thousands: it was meant as
    # the value of one count.
    warnings.warn(
        f"{header.path}: `{SCALE_KEY} = {factor:g}` is read as the reflectance of one count, so "
        f"values are divided by {1 / factor:g}; write that instead.",
        stacklevel=4,
    )
    return 1 / factor


def gains_of(header: EnviHeader, good: NDArray[np.bool_], scale_factor: float) -> Gains | None:
    """Return gains and offsets, None where the header has none or they change nothing.

    Those to reflectance are taken before those to radiance.

    Args:
        header: The header.
        good: Usable bands, shape ``(C,)``; of the others any number is taken.
        scale_factor: What divides the result.

    Raises:
        CubeError: If a list has not one finite number per band, a gain is not above 0, or both
            gains to reflectance and a scale factor are given, so that two readings are possible.
    """
    for quantity, keys in (("reflectance", _REFLECTANCE), ("radiance", _RADIANCE)):
        gain, offset = (_per_band(header, key, good) for key in keys)
        if gain is None and offset is None:
            continue
        wrong = np.flatnonzero(good & ~(gain > 0)) if gain is not None else np.empty(0, np.intp)
        if gain is not None and wrong.size:
            raise CubeError(
                f"{header.path}: item {wrong[0]} of `{keys[0]}` is {gain[wrong[0]]:g}; a gain must "
                "be above 0. Correct the list, or mark the band bad (bbl)."
            )
        found = gains_or_none(
            np.ones(header.bands) if gain is None else gain,
            np.zeros(header.bands) if offset is None else offset,
            quantity,
        )
        if found is not None:
            _look_at(found, header, keys[0], scale_factor)
        return found
    return None


def _look_at(found: Gains, header: EnviHeader, key: str, scale_factor: float) -> None:
    to_reflectance, scaled = found.quantity == "reflectance", scale_factor != 1
    if to_reflectance and scaled and (found.gain != 1).any():
        raise CubeError(
            f"{header.path} has both `{key}` and `{SCALE_KEY} = {scale_factor:g}`: the gains may "
            f"lead to 0 to 1, or to 0 to {scale_factor:g}. Take out the one that is not meant."
        )
    if not to_reflectance and not scaled:
        warnings.warn(
            f"{header.path}: `{key}` and `data offset values` turn stored values into radiance, "
            f"not reflectance ({found}); calibrate with white and dark frames.",
            stacklevel=5,
        )


def _per_band(header: EnviHeader, key: str, good: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return one finite number per band, None where the header has no such list."""
    items = header.items(key)
    if not items:
        return None
    if len(items) != header.bands:
        raise CubeError(
            f"{header.path}: `{key}` has {len(items)} items for {header.bands} bands. It changes "
            "values: correct the list, or take it out."
        )
    values = np.array([_number(item) for item in items])
    wrong = np.flatnonzero(good & ~np.isfinite(values))
    if wrong.size:
        raise CubeError(
            f"{header.path}: item {wrong[0]} of `{key}` is {short(items[wrong[0]])!r}, not a "
            "finite number. It changes values: correct the list, or take it out."
        )
    return values


def _number(text: str) -> float:
    """Return a number, NaN where there is none; float() alone would take 4_0 for 40."""
    try:
        return np.nan if "_" in text else float(text)
    except ValueError:
        return np.nan
