"""From a header's wavelength lists to an axis in nanometres. Nothing is guessed in silence."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.envi.header import EnviHeader
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import AxisError

_NM_PER_UNIT: Final = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(("um", "micrometer", "micrometers", "micrometre", "micrometres"), 1000.0),
    **dict.fromkeys(("micron", "microns"), 1000.0),
}
_NO_UNIT: Final = ("", "unknown", "none")

# Wavelengths that a stated unit may lead to: vacuum UV to the thermal infrared.
STATED_RANGE_NM: Final = (100.0, 30_000.0)
# Wavelengths that a missing unit may lead to: silicon, InGaAs and MCT cameras. In this range the
# readings as nm (200-2600), um (0.2-2.6) and wavenumbers (3846-50000 per cm) exclude each other.
INFERRED_RANGE_NM: Final = (200.0, 2600.0)


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
            f"{header.path} has no wavelengths; give the axis (start, stop and count in nm), "
            f"with {header.bands} bands."
        )
    where = str(header.path)
    check_count(values, header.bands, where)
    centres = to_nanometres(values, header.fields.get("wavelength units", ""), where, quiet)
    good = _good(header, len(centres))
    return SpectralAxis(centres, _widths(header, centres, values, quiet), good)


def check_count(values: Sequence[float] | NDArray[np.float64], bands: int, where: str) -> None:
    """Raise when there is not one wavelength per band, or they are all the same.

    Raises:
        AxisError: Naming both counts.
    """
    if len(values) != bands:
        raise AxisError(
            f"{where} gives {len(values)} wavelengths for {bands} bands; correct the list or give "
            "the axis (start, stop and count in nm)."
        )
    if bands > 1 and np.ptp(values) == 0:
        raise AxisError(
            f"{where} gives {values[0]:g} as the wavelength of all {bands} bands; correct the "
            "list or give the axis (start, stop and count in nm)."
        )


def to_nanometres(
    values: Sequence[float], unit: str, where: str, quiet: bool = False
) -> NDArray[np.float64]:
    """Convert wavelengths to nanometres.

    Args:
        values: Band centres as written.
        unit: Their unit as written; empty or ``Unknown`` when there is none.
        where: The file, for messages.
        quiet: Infer a missing unit without the warning.

    Returns:
        Band centres in nanometres, in the order given.

    Raises:
        AxisError: If the unit is not known, contradicts the values, or is missing and the values
            leave none or a forbidden reading.
    """
    centres = np.asarray(values, np.float64)
    wrong = np.flatnonzero(~(np.isfinite(centres) & (centres > 0)))
    if wrong.size:
        raise AxisError(
            f"{where}: wavelength {wrong[0]} is {centres[wrong[0]]:g}; every band centre must be "
            "a finite number above 0. Correct the list or give the axis."
        )
    # Python lower-cases neither micro sign into the Latin letter.
    name = unit.strip("{} \t\r\n.").lower().replace("\u00b5", "u").replace("\u03bc", "u")
    if name in _NO_UNIT:
        return _inferred(centres, unit, where, quiet)
    if name not in _NM_PER_UNIT:
        raise AxisError(
            f"{where}: `wavelength units = {unit.strip()}` is not a unit of length that is read "
            f"(values {_span(centres)}); write nm or um, or give the axis."
        )
    converted = centres * _NM_PER_UNIT[name]
    if converted.min() < STATED_RANGE_NM[0] or converted.max() > STATED_RANGE_NM[1]:
        raise AxisError(
            f"{where}: `wavelength units = {unit.strip()}` contradicts the values, which run "
            f"{_span(centres)}: that would be {converted.min():g} to {converted.max():g} nm. "
            "Correct the unit, or give the axis."
        )
    return converted


def _inferred(
    centres: NDArray[np.float64], unit: str, where: str, quiet: bool
) -> NDArray[np.float64]:
    seen = f"`wavelength units = {unit.strip()}`" if unit.strip() else "no `wavelength units`"
    low, high = INFERRED_RANGE_NM
    for name, factor in (("nm", 1.0), ("um", 1000.0)):
        converted = centres * factor
        if low <= converted.min() and converted.max() <= high:
            if not quiet:
                warnings.warn(
                    f"{where} has {seen}; the values, {_span(centres)}, are read as {name}. Write "
                    "the unit into the header.",
                    stacklevel=2,
                )
            return converted
    raise AxisError(
        f"{where} has {seen}, and the values, {_span(centres)}, are neither nm nor um of a camera "
        f"between {low:g} and {high:g} nm; write the unit into the header, or give the axis."
    )


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


def _widths(
    header: EnviHeader, centres: NDArray[np.float64], values: Sequence[float], quiet: bool
) -> NDArray[np.float64] | None:
    """Return fwhm in nm (its unit is that of the centres), None when absent or unusable."""
    widths = np.asarray(_numbers(header, "fwhm"))
    if not widths.size:
        return None
    if widths.size != header.bands:
        if not quiet:
            warnings.warn(
                f"{header.path}: `fwhm` has {widths.size} items for {header.bands} bands and is "
                "left out; correct the list to use it.",
                stacklevel=2,
            )
        return None
    usable = np.isfinite(widths).all() and (widths > 0).all()
    return widths * round(centres[0] / values[0], 6) if usable else None


def _span(values: NDArray[np.float64]) -> str:
    return f"{values.min():g} to {values.max():g}"
