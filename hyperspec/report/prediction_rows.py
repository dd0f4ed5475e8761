"""A job's table of predictions as it lies on the disk: CSV that may have been damaged since."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hyperspec.utils.csv_text import unguarded

_RIGHT = {"1": 1, "0": 0, "True": 1, "False": 0, "": None}
# Columns of the probes of confounders that are numbers, or empty.
NUMBERS = ("accuracy", "low", "high", "chance")


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
    found: dict[str, pd.Series | list[str]] = {}
    for name, values in zip(header, columns, strict=True):
        if name.endswith("_correct"):
            found[name] = _whether_right(name, values)
        else:
            found[name] = [unguarded(value) for value in values]
            if name in NUMBERS and name in needed:
                _check_numbers(name, values)
    return pd.DataFrame(found, columns=header)


def _whether_right(name: str, values: Sequence[str]) -> pd.Series:
    if not set(values) <= _RIGHT.keys():
        raise ValueError(f"its column {name} holds something else than 0 and 1")
    right = [_RIGHT[value] for value in values]
    # Whole numbers where none is missing, as other columns of the kind are.
    return pd.Series(right, dtype=float if None in right else None)


def _check_numbers(name: str, values: Sequence[str]) -> None:
    try:
        fits = all(math.isfinite(float(value)) for value in values if value)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"its column {name} holds something else than numbers")
