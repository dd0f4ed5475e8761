"""Optical filters that can be bought or built: catalogues, and what filters pass onto bands.

A catalogue is a CSV. Either one row per filter, with the columns ``name``, ``centre_nm``,
``width_nm`` (full width at half maximum) and, if known, ``transmission`` (at the peak, 0 to 1); or
measured curves, with ``wavelength_nm`` and one column per filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.curves import WAVELENGTH, Curves, number, read_curves, read_rows
from hyperspec.utils.errors import BandError

Vector = NDArray[np.float64]
SHAPES = ("gaussian", "box")
_PER_SD = float(2 * np.sqrt(2 * np.log(2)))  # full width at half maximum of a Gaussian
# Share of a filter's light that has to fall on bands of the sensor.
_LEAST_INSIDE = 0.9


@dataclass(frozen=True, eq=False)
class OpticalFilter:
    """One filter.

    Args:
        name: As in the catalogue.
        centre_nm: Centre of its passband, nanometres.
        width_nm: Full width at half maximum, nanometres; of a curve its area over its peak.
        transmission: At the peak, above 0 to 1.
        shape: ``gaussian`` or ``box``, where there is no curve.
        curve: Measured transmission; None without.
    """

    name: str
    centre_nm: float
    width_nm: float
    transmission: float = 1.0
    shape: str = "gaussian"
    curve: Curves | None = field(default=None, repr=False)

    def passes(self, nm: Vector) -> Vector:
        """Return the transmission at wavelengths ``(L,)``."""
        if self.curve is not None:
            return np.asarray(self.curve.at(nm)[0])
        away = np.abs(nm - self.centre_nm)
        if self.shape == "box":
            return np.where(away <= self.width_nm / 2, self.transmission, 0.0)
        return self.transmission * np.exp(-0.5 * (away / (self.width_nm / _PER_SD)) ** 2)


def responses(axis: SpectralAxis, filters: Sequence[OpticalFilter]) -> tuple[Vector, Vector]:
    """Return what filters pass of the good bands, and which share of their light that is.

    Each band stands for the stretch up to the middles between it and its neighbours; the
    transmission is averaged over that stretch, so that no filter falls between two bands.

    Args:
        axis: Of the sensor, with two good bands at least.
        filters: Any number F.

    Returns:
        Transmitted nanometres per filter and good band in channel order ``(F, C)``, and the share
        of each filter's light that falls on them, ``(F,)``.
    """
    order = np.argsort(axis.wavelengths_nm[axis.good_indices], kind="stable")
    centres = axis.wavelengths_nm[axis.good_indices][order]
    middles = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate(
        [[1.5 * centres[0] - 0.5 * centres[1]], middles, [1.5 * centres[-1] - 0.5 * centres[-2]]]
    )
    # 0.1 nm: a tenth of the finest sensor's spacing and a hundredth of a filter's width.
    reach = max(3 * max(one.width_nm for one in filters), 1.0)
    nm = np.arange(edges[0] - reach, edges[-1] + reach, 0.1)
    cell = np.searchsorted(edges, nm, side="right") - 1
    inside = (cell >= 0) & (cell < len(centres))
    passed = np.zeros((len(filters), len(centres)))
    shares = np.zeros(len(filters))
    for row, one in enumerate(filters):
        light = one.passes(nm) * 0.1
        passed[row, order] = np.bincount(cell[inside], light[inside], len(centres))
        shares[row] = light[inside].sum() / max(light.sum(), 1e-300)
    return passed, shares


def filters_on_bands(axis: SpectralAxis, width_nm: float, shape: str) -> list[OpticalFilter]:
    """Return a filter around every good band whose passband lies within the sensor's axis.

    Raises:
        BandError: If the width is less than the bands' spacing, which the sensor cannot show, or no
            passband fits.
    """
    centres = np.sort(axis.wavelengths_nm[axis.good_indices])
    spacing = float(np.median(np.diff(centres)))
    if width_nm < spacing:
        raise BandError(
            f"bands.width_nm is {width_nm:g}, narrower than the {spacing:.3g} nm between the bands "
            "of the sensor: what such a filter would see was not measured. Give a wider one."
        )
    low, high = centres[0] - spacing / 2, centres[-1] + spacing / 2
    found = [
        OpticalFilter(f"{nm:.1f}/{width_nm:g}", float(nm), width_nm, 1.0, shape)
        for nm in np.unique(centres)
        if low <= nm - width_nm / 2 and nm + width_nm / 2 <= high
    ]
    if not found:
        raise BandError(
            f"bands.width_nm is {width_nm:g}, wider than the sensor's axis ({low:.1f}-{high:.1f} "
            "nm). Give a narrower one."
        )
    return found


def read_catalogue(path: Path, shape: str, option: str) -> list[OpticalFilter]:
    """Read a catalogue; filters in order of their centres.

    Args:
        path: The CSV.
        shape: Of filters that have a centre and a width only.
        option: The key or flag that names the file, for messages.

    Raises:
        BandError: If a column or number is missing or outside of its range, or a name is twice.
    """
    rows = read_rows(path, option)
    if WAVELENGTH in rows[0]:
        found = _from_curves(read_curves(path, option))
    else:
        if missing := [key for key in ("name", "centre_nm", "width_nm") if key not in rows[0]]:
            raise BandError(
                f"{option}='{path}' has no column {', '.join(missing)}. A catalogue has name, "
                f"centre_nm and width_nm, or {WAVELENGTH} and a column per filter."
            )
        found = [_from_row(row, path, line, shape) for line, row in enumerate(rows, start=2)]
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BandError(f"{option}='{path}' has the filter '{twice}' twice. Name each once.")
    return sorted(found, key=lambda one: one.centre_nm)


def _from_row(row: dict[str, str], path: Path, line: int, shape: str) -> OpticalFilter:
    centre, width = (number(row, key, path, line) for key in ("centre_nm", "width_nm"))
    passed = number(row, "transmission", path, line) if row.get("transmission") else 1.0
    if not (centre > 0 and width > 0 and 0 < passed <= 1):
        raise BandError(
            f"'{path}' line {line}: centre_nm {centre:g}, width_nm {width:g}, transmission "
            f"{passed:g}; give nanometres above 0 and a transmission above 0, 1 at most."
        )
    return OpticalFilter(row["name"], centre, width, passed, shape)


def _from_curves(curves: Curves) -> list[OpticalFilter]:
    nm = curves.wavelengths_nm
    found = []
    for name, values in curves.values.items():
        if values.max() > 1:
            raise BandError(
                f"Filter '{name}' passes up to {values.max():g}; give transmissions from 0 to 1, "
                "not percent."
            )
        area = float(np.trapezoid(values, nm))
        found.append(
            OpticalFilter(
                name,
                float(np.trapezoid(values * nm, nm)) / area,
                area / float(values.max()),
                float(values.max()),
                curve=Curves(nm, {name: values}),
            )
        )
    return found


def usable(
    axis: SpectralAxis, filters: Sequence[OpticalFilter]
) -> tuple[list[OpticalFilter], Vector]:
    """Return the filters whose light falls on the sensor's bands, nine tenths at least.

    A filter narrower than the bands' spacing is left out too: what it would see was not measured.

    Returns:
        Filters, and what they pass, as :func:`responses` tells.
    """
    passed, shares = responses(axis, filters)
    spacing = np.median(np.diff(np.sort(axis.wavelengths_nm[axis.good_indices])))
    wide = np.array([one.width_nm >= spacing for one in filters])
    kept = np.flatnonzero((shares >= _LEAST_INSIDE) & wide)
    return [filters[int(place)] for place in kept], passed[kept]
