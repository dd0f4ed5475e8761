"""The reflectance of the white target: a number, or a table by wavelength."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import ConfigError

MAX_TARGET: Final = 2.0  # the brightest white target


def target_reflectance(
    given: float | str, root: Path, axis: SpectralAxis
) -> float | NDArray[np.float64]:
    """Return the target's reflectance: one number, or one for each band, shape ``(C,)``.

    Args:
        given: A number, or a CSV of two columns, nm and reflectance, with or without a line of
            names; its path below ``root``, or as it is.
        root: The folder of the cubes.
        axis: Between the table's wavelengths it is interpolated linearly.

    Raises:
        ConfigError: If the table cannot be read, or does not cover the axis's good bands.
    """
    if not isinstance(given, str):
        return given
    path = next((p for p in (root / given, Path(given)) if p.is_file()), None)
    if path is None:
        raise ConfigError(
            f"data.white_reflectance is {given!r}, neither a number nor a file below {root}. Give "
            "the white target's reflectance (0.99), or a CSV of nm and reflectance."
        )
    nm, values = _rows(path)
    used = axis.wavelengths_nm[axis.good]
    if used.min() < nm[0] or used.max() > nm[-1]:
        raise ConfigError(
            f"data.white_reflectance={given} covers {nm[0]:g} to {nm[-1]:g} nm, but the cubes' "
            f"bands {used.min():g} to {used.max():g} nm. Give a table of the whole range."
        )
    return np.interp(axis.wavelengths_nm, nm, values)


def _rows(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return wavelengths, ascending, and values of a table."""
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        cells = [cell.strip() for cell in re.split(r"[,;\t]|\s+", line.strip()) if cell.strip()]
        if not cells or line.lstrip().startswith("#"):
            continue
        try:
            nm, value = (float(cell) for cell in cells)
        except ValueError:
            if not rows and not any(_is_number(cell) for cell in cells):
                continue  # names of the columns
            raise ConfigError(
                f"{path}, line {number}: {line.strip()[:60]!r} is not two numbers, nm and "
                "reflectance, with a point for the decimals."
            ) from None
        if not (0 < value <= MAX_TARGET and 100 <= nm <= 100_000):
            raise ConfigError(
                f"{path}, line {number}: {nm:g}, {value:g}; give nanometres, and a reflectance "
                f"above 0 and at most {MAX_TARGET:g} (0.99, not 99 percent)."
            )
        rows.append((nm, value))
    table = np.array(sorted(rows)).reshape(-1, 2)
    if len(table) < 2 or not (np.diff(table[:, 0]) > 0).all():
        raise ConfigError(
            f"{path} has {len(table)} lines of nm and reflectance; give at least two, each "
            "wavelength once."
        )
    return table[:, 0], table[:, 1]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
