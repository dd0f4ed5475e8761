"""An axis from a file of wavelengths: one per band, for cubes that carry none.

Read are plain lists (a number per line), tables with a row of names (CSV, with commas, semicolons,
tabs or spaces), such as `hyperspec info` writes them, and ENVI headers of other cubes.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.envi.wavelengths import axis_from_header
from hyperspec.cubes.files import read_header
from hyperspec.cubes.wavelength_units import to_nanometres, widths_to_nanometres
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import AxisError

_LARGEST: Final = 16 * 2**20
# Names of columns, in lower case and without their unit.
_CENTRES: Final = (
    *("wavelength", "wavelengths", "wave", "wl", "lambda", "centre", "center", "band centre"),
    *("band center", "centre wavelength", "center wavelength", "central wavelength"),
    *("wavenumber", "wavenumbers"),
)
_UNITS: Final = ("nm", "um", "cm-1", "cm^-1", "1/cm", "nanometers", "micrometers", "microns")
_WIDTHS: Final = ("fwhm", "width", "bandwidth", "band width")
_GOOD: Final = ("good", "bbl")


def read_axis_file(path: Path, option: str = "data.axis.file") -> SpectralAxis:
    """Read an axis.

    Args:
        path: The file.
        option: What names it, for messages.

    Raises:
        AxisError: If it cannot be read, or does not say which numbers are wavelengths.
        CubeError: If it is a header, and no ENVI header.
    """
    if path.suffix.lower() == ".hdr":
        return axis_from_header(read_header(path))
    rows = _rows(path, option)
    names = [] if _is_numbers(rows[0][1]) else [name.strip().lower() for name in rows[0][1]]
    body = rows[1:] if names else rows
    if not body:
        raise AxisError(f"{path} ({option}) has names of columns, but no numbers.")
    lengths = {len(cells) for _, cells in body} | ({len(names)} if names else set())
    if len(lengths) > 1:
        raise AxisError(f"{path} ({option}) has rows of {sorted(lengths)} columns; give each one.")
    if names:
        return _from_table(path, names, body)
    return _from_list(path, option, body)


def _from_table(path: Path, names: list[str], body: list[tuple[int, list[str]]]) -> SpectralAxis:
    found: dict[str, tuple[int, str]] = {}
    for place, name in enumerate(names):
        bare, unit = _name_and_unit(name)
        kinds = (("centres", _CENTRES), ("widths", _WIDTHS), ("good", _GOOD))
        kind = next((kind for kind, known in kinds if bare in known), None)
        if kind is None:
            continue
        if kind in found:
            raise AxisError(
                f"{path} has two columns of {kind}, {names[found[kind][0]]!r} and {name!r}; keep "
                "one."
            )
        found[kind] = (place, unit or ("cm-1" if bare.startswith("wavenumber") else ""))
    if "centres" not in found:
        raise AxisError(
            f"{path} has columns {', '.join(map(repr, names))}, but none of wavelengths; name one "
            "wavelength_nm."
        )
    columns = {kind: _column(path, body, place) for kind, (place, _) in found.items()}
    centres = to_nanometres(columns["centres"].tolist(), found["centres"][1], str(path))
    widths = None
    if "widths" in columns:
        unit = found["widths"][1]
        if unit:
            widths = to_nanometres_of_widths(columns["widths"], unit, path)
        else:
            widths = widths_to_nanometres(
                columns["widths"].tolist(), columns["centres"].tolist(), centres, str(path)
            )
    good = columns.get("good", np.ones(len(body))) != 0
    return SpectralAxis(centres, widths, np.asarray(good))


def to_nanometres_of_widths(
    widths: NDArray[np.float64], unit: str, path: Path
) -> NDArray[np.float64]:
    """Convert widths whose own unit is given, nm or um."""
    factors = {"nm": 1.0, "nanometers": 1.0, "um": 1e3, "micrometers": 1e3, "microns": 1e3}
    if unit not in factors or not (np.isfinite(widths) & (widths > 0)).all():
        raise AxisError(
            f"{path}: widths in {unit}, from {widths.min():g} on; give nm or um, above 0."
        )
    return widths * factors[unit]


def _from_list(path: Path, option: str, body: list[tuple[int, list[str]]]) -> SpectralAxis:
    columns = [_column(path, body, place) for place in range(len(body[0][1]))]
    # A first column that counts is the number of the band.
    first = columns[0]
    if len(columns) > 1 and first[0] in (0, 1) and (np.diff(first) == 1).all():
        columns = columns[1:]
    if len(columns) == 1:
        return SpectralAxis(to_nanometres(columns[0].tolist(), "", str(path)))
    if len(body) == 1:
        return SpectralAxis(to_nanometres([c[0] for c in columns], "", str(path)))
    raise AxisError(
        f"{path} ({option}) has {len(columns)} columns of numbers without names; put a row above "
        "them: wavelength_nm, and if known fwhm and good."
    )


def _rows(path: Path, option: str) -> list[tuple[int, list[str]]]:
    """Return line numbers and cells, without comments and empty lines."""
    try:
        if path.stat().st_size > _LARGEST:
            raise AxisError(f"{path} ({option}) has {path.stat().st_size} bytes; no list has.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise AxisError(
            f"{path} ({option}) cannot be read: {error.strerror}; give a file of wavelengths."
        ) from error
    except UnicodeDecodeError as error:
        raise AxisError(f"{path} ({option}) is no text in UTF-8; save it as CSV.") from error
    lines = [
        (number, line.strip())
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1)
        if line.strip() and not line.lstrip().startswith(("#", "%", "//"))
    ]
    if not lines:
        raise AxisError(f"{path} ({option}) is empty; give a wavelength per line.")
    mark = next((mark for mark in (";", "\t", ",") if mark in lines[0][1]), None)
    if mark in (";", "\t"):  # as Excel writes it where the comma is the decimal point
        lines = [(number, re.sub(r"(?<=\d),(?=\d)", ".", line)) for number, line in lines]
    if mark is None and any("," in line for _, line in lines):
        mark = ","
    if mark is None:
        rows = [(number, line.split()) for number, line in lines]
        if len(rows[-1][1]) == 1:  # `Wavelength (nm)` above one column
            rows[0] = lines[0][0], [lines[0][1]]
        return rows
    cells = [(n, [c.strip() for c in next(csv.reader([x], delimiter=mark))]) for n, x in lines]
    # A mark at the end of a list makes an empty last cell.
    return [(n, row[:-1] if len(row) > 1 and not row[-1] else row) for n, row in cells]


def _is_numbers(cells: list[str]) -> bool:
    return all(re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", cell) for cell in cells)


def _name_and_unit(name: str) -> tuple[str, str]:
    """Part `wavelength_nm`, `Wavelength (nm)` or `nm` into a name and a unit."""
    text = name.strip().lower().replace("\u00b5", "u").replace("\u03bc", "u")
    text = re.sub(r"[\s_]+", " ", text)
    match = re.fullmatch(r"(.*?) ?[(\[]? ?(" + "|".join(map(re.escape, _UNITS)) + r")[)\]]?", text)
    return (match[1] or "wavelength", match[2]) if match else (text, "")


def _column(path: Path, body: list[tuple[int, list[str]]], place: int) -> NDArray[np.float64]:
    values = []
    for number, cells in body:
        try:
            if "_" in cells[place]:  # float() would take 4_0 for 40
                raise ValueError
            values.append(float(cells[place]))
        except ValueError:
            raise AxisError(
                f"{path}, line {number}: {cells[place][:40]!r} is no number; correct it."
            ) from None
    return np.asarray(values)
