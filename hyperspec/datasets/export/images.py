"""The images of an export: prepared specimens with their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis

if TYPE_CHECKING:
    import pandas as pd


# Columns that every store's table has; the others are label columns.
OWN_COLUMNS = (
    *("file", "label", "specimen", "view", "date"),
    *("num_bands", "num_lines", "num_samples", "num_bytes", "axis_hash", "checksum"),
)


@dataclass(frozen=True, eq=False)
class Images:
    """Prepared images of an export, read one by one.

    Args:
        axis: Their bands.
        size: Lines and samples, S.
        dtype: ``float16`` or ``float32``: the type of the store that they came from.
        table: One row per image; at least ``file`` and ``specimen``.
        read: Row to image ``(C, S, S)`` and mask ``(S, S)``; may be called from threads.
    """

    axis: SpectralAxis
    size: int
    dtype: str
    table: pd.DataFrame
    read: Callable[[int], tuple[NDArray[np.float32], NDArray[np.bool_]]]


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
