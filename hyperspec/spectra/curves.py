"""Curves against wavelength from a CSV: sensitivities, light, transmission of filters."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import BandError

Vector = NDArray[np.float64]
WAVELENGTH = "wavelength_nm"


@dataclass(frozen=True, eq=False)
class Curves:
    """Several curves over the same wavelengths.

    Args:
        wavelengths_nm: Ascending, nanometres, shape ``(L,)``.
        values: One curve per name, 0 or above, each ``(L,)``.
    """

    wavelengths_nm: Vector
    values: Mapping[str, Vector]

    def at(self, nm: Vector) -> Vector:
        """Return all curves at wavelengths ``(M,)``, shape ``(names, M)``: 0 outside of them."""
        rows = [np.interp(nm, self.wavelengths_nm, one, 0, 0) for one in self.values.values()]
        return np.stack(rows)


def read_rows(path: Path, option: str) -> list[dict[str, str]]:
    """Read a CSV with a row of names; cells without the blanks around them.

    Raises:
        BandError: If it cannot be read, or has no rows; it names the file and the option.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, skipinitialspace=True)
            rows = [
                {str(k).strip(): str(v or "").strip() for k, v in row.items() if k} for row in table
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BandError(f"{option}='{path}' cannot be read: {reason}. Give a CSV file.") from error
    if not rows:
        raise BandError(f"{option}='{path}' has no rows under its row of names.")
    return rows


def read_curves(path: Path, option: str) -> Curves:
    """Read a CSV whose column ``wavelength_nm`` stands beside one column per curve.

    Args:
        path: The file.
        option: The key or flag that names it, for messages.

    Raises:
        BandError: If a column or number is missing, negative, or wavelengths do not ascend.
    """
    rows = read_rows(path, option)
    names = [name for name in rows[0] if name != WAVELENGTH]
    if WAVELENGTH not in rows[0] or not names:
        raise BandError(
            f"{option}='{path}' has the columns {', '.join(rows[0])}; it needs '{WAVELENGTH}' and "
            "one column per curve."
        )
    if len(rows) < 2:
        raise BandError(f"{option}='{path}' has a single wavelength; a curve needs two at least.")
    columns = {
        name: np.array([number(row, name, path, line) for line, row in enumerate(rows, start=2)])
        for name in (WAVELENGTH, *names)
    }
    if not (np.diff(columns[WAVELENGTH]) > 0).all():
        raise BandError(f"{option}='{path}': {WAVELENGTH} must ascend from row to row.")
    for name in names:
        if columns[name].min() < 0 or not columns[name].any():
            raise BandError(
                f"{option}='{path}': column '{name}' must hold values of 0 and above, one of them "
                f"above 0; its lowest is {columns[name].min():g}."
            )
    return Curves(columns.pop(WAVELENGTH), columns)


def number(row: Mapping[str, str], name: str, path: Path, line: int) -> float:
    """Return a cell as a finite number.

    Raises:
        BandError: If it is none; it names file, line and column.
    """
    try:
        value = float(row[name])
    except (KeyError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise BandError(
            f"'{path}' line {line}: column '{name}' is '{row.get(name, '')}'; give a number."
        )
    return value
