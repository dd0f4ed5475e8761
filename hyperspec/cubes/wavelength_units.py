"""Wavelengths and widths as written, whatever their unit, to nanometres.

Nothing is guessed in silence.

Used for ENVI headers, for the tags of other rasters and for files of wavelengths.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import AxisError

# The units of length that ENVI lists, and how programs spell them.
_NM_PER_UNIT: Final = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(("um", "micrometer", "micrometers", "micrometre", "micrometres"), 1e3),
    **dict.fromkeys(("micron", "microns"), 1e3),
    **dict.fromkeys(("angstrom", "angstroms", "å"), 0.1),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1e6),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 1e7),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e9),
}
_NO_UNIT: Final = ("", "unknown", "none")
_WAVENUMBER: Final = re.compile(
    r"wave ?numbers?( *[(\[]?(cm|1/cm).*)?"
    r"|(cm|centimet(er|re)s?) *(\^|\*\*)? *[({]?(-|−|⁻)[1¹][)}]?"
    r"|(1/|/|per |inverse |reciprocal )(cm|centimet(er|re)s?)|kaysers?"
)
_NM_TIMES_WAVENUMBER: Final = 1e7

# Wavelengths that a stated unit may lead to: vacuum UV to the thermal infrared.
STATED_RANGE_NM: Final = (100.0, 30_000.0)
# Wavelengths that a missing unit may lead to: silicon, InGaAs and MCT cameras.
INFERRED_RANGE_NM: Final = (200.0, 2600.0)
# Cameras that see 1700 to 2600 nm begin below it. An axis that lies there as a whole may as well be
# the wavenumbers of a mid-infrared spectrometer, 3.8 to 5.9 um.
_WAVENUMBERS_FROM: Final = 1700.0

# Widths of real bands, in spacings of the axis and in shares of the wavelength: three LED lines far
# apart, a filter wheel, an axis that was resampled finely. A wrong unit is a factor of 1000.
_SPACINGS: Final = (1 / 30, 60.0)
_LARGEST_SHARE, _ABSURD_SHARE = 0.25, 0.5
_LEAST_WIDTH_NM: Final = 0.05


def check_count(values: Sequence[float] | NDArray[np.float64], bands: int, where: str) -> None:
    """Raise when there is not one wavelength per band, or they are all the same.

    Raises:
        AxisError: Naming both counts.
    """
    if len(values) != bands:
        raise AxisError(
            f"{where} gives {len(values)} wavelengths for {bands} bands; correct the list or give "
            "the axis (start, stop and count in nm, or data.axis.file)."
        )
    if bands > 1 and np.ptp(values) == 0:
        raise AxisError(
            f"{where} gives {values[0]:g} as the wavelength of all {bands} bands; correct the "
            "list or give the axis (start, stop and count in nm, or data.axis.file)."
        )


def to_nanometres(
    values: Sequence[float], unit: str, where: str, quiet: bool = False, hints: str = ""
) -> NDArray[np.float64]:
    """Convert wavelengths or wavenumbers to nanometres.

    Args:
        values: Band centres as written.
        unit: Their unit as written; empty or ``Unknown`` when there is none.
        where: The file, for messages.
        quiet: Infer a missing unit without the warning.
        hints: What else the file says of its instrument; looked at when there is no unit.

    Returns:
        Band centres in nanometres, in the order given.

    Raises:
        AxisError: If the unit is not known, contradicts the values, or is missing and the values
            leave none, several or a forbidden reading.
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
        return _inferred(centres, unit, where, quiet, hints)
    if _WAVENUMBER.fullmatch(name):
        converted = _NM_TIMES_WAVENUMBER / centres
    elif name in _NM_PER_UNIT:
        converted = centres * _NM_PER_UNIT[name]
    else:
        raise AxisError(
            f"{where}: `wavelength units = {unit.strip()}` is not a unit of length that is read "
            f"(values {_span(centres)}); write nm, um or cm-1, or give the axis."
        )
    if converted.min() < STATED_RANGE_NM[0] or converted.max() > STATED_RANGE_NM[1]:
        raise AxisError(
            f"{where}: `wavelength units = {unit.strip()}` contradicts the values, which run "
            f"{_span(centres)}: that would be {converted.min():g} to {converted.max():g} nm. "
            "Correct the unit, or give the axis."
        )
    return converted


# Words of instruments that count wavenumbers.
_HINTS: Final = re.compile(
    r"wave ?number|\bcm *\^? *\{?[-−⁻][1¹]|\b1/cm\b|\bft-?n?ir\b|\braman|\bqcl\b|interferomet|"
    r"\bfourier",
    re.IGNORECASE,
)


def _inferred(
    centres: NDArray[np.float64], unit: str, where: str, quiet: bool, hints: str
) -> NDArray[np.float64]:
    seen = f"`wavelength units = {unit.strip()}`" if unit.strip() else "no `wavelength units`"
    hint = _HINTS.search(hints)
    if hint is not None:
        raise AxisError(
            f"{where} has {seen}, and speaks of {hint[0]!r}: the values, {_span(centres)}, may be "
            "wavenumbers. Write the unit into the header (cm-1, nm or um), or give the axis."
        )
    low, high = INFERRED_RANGE_NM
    for name, factor in (("nm", 1.0), ("um", 1000.0)):
        converted = centres * factor
        if not (low <= converted.min() and converted.max() <= high):
            continue
        if name == "nm" and centres.min() >= _WAVENUMBERS_FROM:
            waves = _NM_TIMES_WAVENUMBER / centres
            raise AxisError(
                f"{where} has {seen}, and the values, {_span(centres)}, may be nm or wavenumbers "
                f"(cm-1, which is {_span(waves)} nm); write the unit into the header, or give the "
                "axis."
            )
        if not quiet:
            warnings.warn(
                f"{where} has {seen}; the values, {_span(centres)}, are read as {name}. Write "
                "the unit into the header.",
                stacklevel=3,
            )
        return converted
    raise AxisError(
        f"{where} has {seen}, and the values, {_span(centres)}, are neither nm nor um of a camera "
        f"between {low:g} and {high:g} nm; write the unit into the header (nm, um, cm-1), or give "
        "the axis."
    )


def widths_to_nanometres(
    widths: Sequence[float],
    values: Sequence[float],
    centres_nm: NDArray[np.float64],
    where: str,
    quiet: bool = False,
) -> NDArray[np.float64] | None:
    """Return full widths at half maximum in nanometres, None where they cannot be used.

    Their unit is that of the centres, unless that makes bands which no camera has and a unit
    that is 1000 times smaller or larger does not.

    Args:
        widths: As written.
        values: Band centres as written.
        centres_nm: What these are in nanometres.
        where: The file, for warnings.
        quiet: Without warnings.
    """
    written = np.asarray(widths, np.float64)

    def tell(text: str) -> None:
        if not quiet:
            warnings.warn(f"{where}: `fwhm` {text}", stacklevel=4)

    if written.size != len(centres_nm):
        items = f"{written.size} items for {len(centres_nm)} bands"
        tell(f"has {items} and is left out; correct the list to use it.")
        return None
    wrong = np.flatnonzero(~(np.isfinite(written) & (written > 0)))
    if wrong.size:
        tell(
            f"is {written[wrong[0]]:g} for band {wrong[0]}, which is no width, and is left out; "
            "correct the list to use it."
        )
        return None
    # Of lengths the factor of the unit; of wavenumbers dλ = λ / ν dν.
    slope = centres_nm / np.asarray(values, np.float64)
    own = written * (round(slope[0], 6) if np.ptp(slope) < 1e-6 * slope[0] else slope)
    if _plausible(own, centres_nm):
        return own
    others = [(own * factor, factor) for factor in (1e-3, 1e3)]
    fitting = [(item, factor) for item, factor in others if _plausible(item, centres_nm)]
    if len(fitting) == 1:
        found, factor = fitting[0]
        size = "smaller" if factor < 1 else "larger"
        tell(
            f"of {np.median(written):g} would be {np.median(own):g} nm in the unit of the "
            f"wavelengths, and is read as {np.median(found):g} nm, in a unit 1000 times {size}. "
            "Correct the list."
        )
        return found
    if float(np.median(own / centres_nm)) > _ABSURD_SHARE:
        tell(
            f"of {np.median(written):g} would be {np.median(own):g} nm in the unit of the "
            "wavelengths, which is no width of these bands, and is left out; correct the list."
        )
        return None
    return own


def _plausible(widths: NDArray[np.float64], centres: NDArray[np.float64]) -> bool:
    """Say whether a camera may have such bands."""
    middle, centre = float(np.median(widths)), float(np.median(centres))
    spacing = float(np.ptp(centres)) / (len(centres) - 1) if len(centres) > 1 else centre
    low, high = max(_LEAST_WIDTH_NM, spacing * _SPACINGS[0]), spacing * _SPACINGS[1]
    return low <= middle <= min(high, _LARGEST_SHARE * centre)


def _span(values: NDArray[np.float64]) -> str:
    return f"{values.min():g} to {values.max():g}"
