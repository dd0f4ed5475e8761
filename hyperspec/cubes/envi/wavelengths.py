"""From a header's wavelength lists to an axis in nanometres. Nothing is guessed in silence."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.envi.header import EnviHeader
from hyperspec.cubes.wavelength_units import check_count, to_nanometres, widths_to_nanometres
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import AxisError

# Fields that tell what measured a cube, for values without a unit.
_INSTRUMENT = ("description", "sensor type", "sensor", "instrument", "z plot titles", "band names")


def axis_from_header(header: EnviHeader, given: SpectralAxis | None = None) -> SpectralAxis:
    """Return the axis of a cube.

    Args:
        header: The cube's header.
        given: An axis that replaces the header's wavelengths. Bands that the header marks bad
            stay bad. A warning lists where it differs from a readable header.

    Raises:
        AxisError: If there are no wavelengths, their count is not the number of bands, or their
            unit is unknown, missing and undecidable, or contradicts the values.
    """
    if given is not None:
        _compare(header, given)
        good = given.good & _good(header, header.bands)
        return SpectralAxis(given.wavelengths_nm, given.fwhm_nm, good)
    return _own_axis(header)


def _own_axis(header: EnviHeader, quiet: bool = False) -> SpectralAxis:
    values = _numbers(header, "wavelength")
    if not values:
        raise AxisError(
            f"{header.path} has no wavelengths; give the axis (start, stop and count in nm, or "
            f"data.axis.file), with {header.bands} bands."
        )
    where = str(header.path)
    check_count(values, header.bands, where)
    unit = header.fields.get("wavelength units", "")
    hints = " ".join(header.fields.get(key, "") for key in _INSTRUMENT)
    centres = to_nanometres(values, unit, where, quiet, hints)
    widths = _numbers(header, "fwhm")
    known = widths_to_nanometres(widths, values, centres, where, quiet) if widths else None
    return SpectralAxis(centres, known, _good(header, len(centres)))


def check_given(given: SpectralAxis, bands: int, where: str) -> None:
    """Refuse a given axis with another number of bands than ``where`` has.

    Raises:
        AxisError: Naming both counts.
    """
    if len(given) != bands:
        raise AxisError(
            f"The given axis has {len(given)} bands, but {where} {bands}; give an axis of that "
            "many."
        )


def warn_replaced(own: SpectralAxis, given: SpectralAxis, what: str) -> None:
    """Say where a given axis differs from a cube's own, which it replaces."""
    different = own.differences(SpectralAxis(given.wavelengths_nm, None, own.good))
    if different:
        warnings.warn(f"{what} wavelengths; {'; '.join(different)}", stacklevel=4)


def _compare(header: EnviHeader, given: SpectralAxis) -> None:
    check_given(given, header.bands, f"{header.path} has")
    try:
        # Quiet by an argument: catch_warnings is not safe where threads open cubes.
        own = _own_axis(header, quiet=True)
    except AxisError:
        return  # an unreadable list is what the given axis is for
    warn_replaced(own, given, f"{header.path}: the given axis replaces the header's")


def _numbers(header: EnviHeader, key: str) -> list[float]:
    numbers = []
    for index, item in enumerate(header.items(key)):
        try:
            if "_" in item:  # float() would take 4_0 for 40
                raise ValueError
            numbers.append(float(item))
        except ValueError:
            raise AxisError(
                f"{header.path}: item {index} of `{key}` is {item[:40]!r}, not a number; correct "
                "the list."
            ) from None
    return numbers


def _good(header: EnviHeader, bands: int) -> NDArray[np.bool_]:
    """Return the bad-band list of a header whose number of bands has been checked."""
    values = _numbers(header, "bbl")
    if values and len(values) != bands:
        raise AxisError(
            f"{header.path}: the bad-band list `bbl` has {len(values)} items for {bands} "
            "bands; correct it or take it out."
        )
    return np.asarray(values) != 0 if values else np.ones(bands, np.bool_)
