"""A job's table of predictions as it lies on the disk: CSV that may have been damaged since."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hyperspec.evaluation.statistics.variance import Floats
from hyperspec.utils.csv_text import unguarded

_RIGHT = {"1": 1, "0": 0, "True": 1, "False": 0, "": None}
_JUDGED = "_correct"
# Columns of the probes of confounders that are numbers, or empty.
NUMBERS = ("accuracy", "low", "high", "chance")


@dataclass(frozen=True)
class Judged:
    """Which test images a job named rightly: what tests and intervals take of its table.

    Args:
        files: Each row's image.
        units: What each row is one of, see :func:`unit_name`.
        right: By column, such as ``knn_correct``: 1 or 0, NaN of images without a label.
    """

    files: tuple[str, ...]
    units: tuple[str, ...]
    right: Mapping[str, Floats]


def unit_name(columns: Sequence[str]) -> str:
    """Return the column of what was sampled: a row's group where there is one, or its specimen.

    Groups (``data.split.group``) fall on one side as a whole, so that they are what was sampled.
    """
    return "group" if "group" in columns else "specimen"


def judged_rows(path: Path, needed: Sequence[str] = ()) -> Judged:
    """Read which images were named rightly; arguments and errors of :func:`prediction_rows`."""
    cells = _cells(path, needed)
    files, units = (tuple(map(unguarded, cells[name])) for name in ("file", unit_name(list(cells))))
    right = {
        name: np.array(_whether_right(name, values), np.float64)
        for name, values in cells.items()
        if name.endswith(_JUDGED)
    }
    return Judged(files, units, right)


def judged_of(table: pd.DataFrame) -> Judged:
    """Return which images were named rightly, of a table that is read already."""
    names = list(map(str, table))
    files, units = (tuple(table[name]) for name in ("file", unit_name(names)))
    right = {name: table[name].to_numpy(np.float64) for name in names if name.endswith(_JUDGED)}
    return Judged(files, units, right)


def prediction_rows(path: Path, needed: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of predictions; a third of the time of ``pandas.read_csv``, which is the start.

    Labels such as 001 or NA are text; the only numbers are 0 and 1 of ``..._correct``.

    Args:
        path: The file.
        needed: Columns that it must have.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no such table; in a word what is wrong, without what it holds.
    """
    found: dict[str, pd.Series | list[str]] = {}
    for name, values in _cells(path, needed).items():
        if name.endswith(_JUDGED):
            right = _whether_right(name, values)
            # Whole numbers where none is missing, as other columns of the kind are.
            found[name] = pd.Series(right, dtype=float if None in right else None)
        else:
            found[name] = [unguarded(value) for value in values]
    return pd.DataFrame(found, columns=list(found))


def _cells(path: Path, needed: Sequence[str]) -> dict[str, Sequence[str]]:
    """Read the columns as they are written; numbers are looked at."""
    with path.open(newline="", encoding="utf-8") as file:
        try:
            header, *rows = csv.reader(file)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError("it is no text in UTF-8 with commas") from error
        except ValueError as error:
            raise ValueError("it is empty") from error
    missing = [name for name in needed if name not in header]
    if missing or len(set(header)) < len(header):
        raise ValueError(f"it has no column {missing[0]}" if missing else "it has a column twice")
    if wrong := [number for number, row in enumerate(rows, 2) if len(row) != len(header)]:
        raise ValueError(f"row {wrong[0]} has not the {len(header)} cells of the first")
    columns = zip(*rows, strict=True) if rows else ((),) * len(header)
    found: dict[str, Sequence[str]] = dict(zip(header, columns, strict=True))
    for name in NUMBERS:
        if name in found and name in needed:
            _check_numbers(name, found[name])
    return found


def _whether_right(name: str, values: Sequence[str]) -> list[int | None]:
    if not set(values) <= _RIGHT.keys():
        raise ValueError(f"its column {name} holds something else than 0 and 1")
    return [_RIGHT[value] for value in values]


def _check_numbers(name: str, values: Sequence[str]) -> None:
    try:
        fits = all(math.isfinite(float(value)) for value in values if value)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"its column {name} holds something else than numbers")
