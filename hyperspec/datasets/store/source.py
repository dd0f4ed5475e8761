"""What training asks of specimen images, wherever they come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError, CatalogueError

if TYPE_CHECKING:
    import pandas as pd

Bands = BandSelection | Sequence[int] | NDArray[np.integer]


# 32 sets of 408 bands are 80 MB.
_MERGE_GROUP = 32


class SpecimenSource(Protocol):
    """Images of one size on one axis, one row each: the store, raw cubes, or tiles of a scene."""

    @property
    def table(self) -> pd.DataFrame:
        """One row per image: file, label, specimen, view, date and more."""
        ...

    @property
    def axis(self) -> SpectralAxis:
        """The axis of all C bands."""
        ...

    @property
    def size(self) -> int:
        """Lines and samples of an image, S."""
        ...

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Type of the planes: float16 or float32."""
        ...

    @property
    def hash(self) -> str:
        """Sixteen hex digits of data, labels and preparation."""
        ...

    def __len__(self) -> int: ...

    def planes(
        self,
        rows: Sequence[int],
        bands: Bands | None = None,
        out: NDArray[np.floating] | None = None,
    ) -> NDArray[np.floating]:
        """Return images ``(len(rows), n, S, S)`` in the given order of rows and bands.

        They are put into ``out`` when that is given: contiguous, of this shape and ``dtype``.
        """
        ...

    def masks(self, rows: Sequence[int]) -> NDArray[np.bool_]:
        """Return foregrounds ``(len(rows), S, S)``."""
        ...

    def statistics(
        self, rows: Sequence[int], by: Sequence[str | None] | None = None
    ) -> SpectralStatistics:
        """Return the statistics of the rows' spectra, per class of ``by``."""
        ...


def band_indices(bands: Bands | None, axis: SpectralAxis) -> list[int]:
    """Return 0-based band indices of a selection or a sequence; None means all.

    Raises:
        BandError: If there is no such band, or the selection does not fit the axis.
    """
    if bands is None:
        return list(range(len(axis)))
    if isinstance(bands, BandSelection):
        return list(bands.resolve(axis).indices)
    indices = [int(b) for b in bands]
    # The extremes first: this is done for each batch, and looking at each band takes longer.
    if not indices or min(indices) < 0 or max(indices) >= len(axis):
        outside = [b for b in indices if not 0 <= b < len(axis)]
        raise BandError(
            f"Band {outside[0]} was asked for, but there are bands 0 to {len(axis) - 1} (0-based)."
            if outside
            else "No band was asked for; give at least one."
        )
    return indices


def check_rows(rows: Sequence[int], count: int) -> list[int]:
    """Return rows as plain integers.

    Raises:
        CatalogueError: If there is no such row, or none at all.
    """
    chosen = [int(row) for row in rows]
    outside = [row for row in chosen if not 0 <= row < count]
    if outside or not chosen:
        raise CatalogueError(
            f"Specimen image {outside[0]} was asked for, but there are 0 to {count - 1}."
            if outside
            else "No specimen image was asked for; give at least one row."
        )
    return chosen


def classes_of(
    rows: Sequence[int], by: Sequence[str | None] | None, labels: Sequence[str | None]
) -> list[str | None]:
    """Return the class of each row: those given, else the labels of the table.

    Raises:
        CatalogueError: If there are not as many classes as rows.
    """
    if by is None:
        return [labels[row] for row in rows]
    if len(by) != len(rows):
        raise CatalogueError(f"There are {len(by)} classes for {len(rows)} specimen images.")
    return list(by)


def gather(
    load: Callable[[int], SpectralStatistics],
    rows: Sequence[int],
    classes: Sequence[str | None],
) -> SpectralStatistics:
    """Load and merge the statistics of images, each assigned to its class where that is known.

    By groups, so that only so many covariances are in memory at once, however many images there
    are; the groups are the same for every source, and so is the result to the last bit.

    Args:
        load: Returns the statistics of one row; called from threads.
        rows: What to load.
        classes: Class of each row, None where unknown.
    """
    groups = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(rows), _MERGE_GROUP):
            group = slice(start, start + _MERGE_GROUP)
            parts = pool.map(load, rows[group])
            named = [
                part if name is None else part.with_class(name)
                for part, name in zip(parts, classes[group], strict=True)
            ]
            groups.append(SpectralStatistics.merge(named))
    return SpectralStatistics.merge(groups)


def plain_labels(table: pd.DataFrame) -> list[str | None]:
    """Return the label column with None where it is missing."""
    return [label if isinstance(label, str) else None for label in table["label"]]
