"""A store's table as plain values, which every format can write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# Columns that every store's table has; the others are label columns.
OWN_COLUMNS = (
    *("file", "label", "specimen", "view", "date"),
    *("num_bands", "num_lines", "num_samples", "num_bytes", "axis_hash", "checksum"),
)


def columns_of(table: pd.DataFrame) -> Mapping[str, list[str | int | None]]:
    """Return a store's table as plain lists, None where a value is missing."""
    return {str(name): [_plain(value) for value in table[name]] for name in table.columns}


def _plain(value: object) -> str | int | None:
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    missing = value is None or value != value  # NaN and pandas' own
    return None if missing else str(value)
