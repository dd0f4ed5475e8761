"""What training asks of specimen images, wherever they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.arrays import output
from hyperspec.utils.cores import usable_cores
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

    axis: SpectralAxis
    """The axis of all C bands."""
    size: int
    """Lines and samples of an image, S."""
    dtype: np.dtype[np.floating]
    """Type of the planes: float16 or float32."""

    @property
    def hash(self) -> str:
        """Sixteen hex digits of data, labels and preparation."""

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

    def masks(self, rows: Sequence[int]) -> NDArray[np.bool_]:
        """Return foregrounds ``(len(rows), S, S)``."""

    def statistics(
        self, rows: Sequence[int], by: Sequence[str | None] | None = None
    ) -> SpectralStatistics:
        """Return the statistics of the rows' spectra, per class of ``by``."""


class PreparedSource(ABC):
    """What the store, raw cubes and tiles share: rows, bands and outputs are checked here.

    Args:
        axis: The axis of all C bands.
        size: Lines and samples of an image, S.
        dtype: Type of the planes.
    """

    def __init__(self, axis: SpectralAxis, size: int, dtype: str) -> None:
        self.axis, self.size = axis, size
        self.dtype: np.dtype[np.floating] = np.dtype(dtype)
        self.calibration: tuple[str, ...] = ()
        """What was done to the cubes' values, a line for each way."""

    @property
    @abstractmethod
    def table(self) -> pd.DataFrame:
        """One row per image, its label among the columns."""

    @abstractmethod
    def __len__(self) -> int: ...

    def planes(
        self,
        rows: Sequence[int],
        bands: Bands | None = None,
        out: NDArray[np.floating] | None = None,
    ) -> NDArray[np.floating]:
        """Return some images at some bands.

        Args:
            rows: Rows of the table.
            bands: A selection, or 0-based indices; None means all. Their order is kept.
            out: Where to put them, of this type and shape ``(len(rows), n, S, S)``, contiguous.
                Nothing is allocated then: memory that is new to the process has to be cleared by
                the system first.

        Returns:
            ``out``, or a new array; 0 outside the mask.

        Raises:
            CatalogueError: If there is no such row, or what is read is missing or damaged.
            BandError: If there is no such band.
            HyperspecError: If ``out`` does not fit.
        """
        chosen = check_rows(rows, len(self))
        indices = band_indices(bands, self.axis)
        shape = (len(chosen), len(indices), self.size, self.size)
        target = output(out, shape, self.dtype)
        self._read_into(target, chosen, indices)
        return target

    def masks(self, rows: Sequence[int]) -> NDArray[np.bool_]:
        """Return foregrounds, shape ``(len(rows), S, S)``."""
        return self._masks(check_rows(rows, len(self)))

    def statistics(
        self, rows: Sequence[int], by: Sequence[str | None] | None = None
    ) -> SpectralStatistics:
        """Merge the statistics of some images' foreground, over all bands.

        Args:
            rows: Rows of the table, without repetition.
            by: Class of each of these rows, None where unknown; by default the table's labels.

        Raises:
            CatalogueError: If there are not as many classes as rows.
        """
        chosen = check_rows(rows, len(self))
        if by is None:
            labels = self.table["label"].tolist()
            own = [labels[row] for row in chosen]
            return self._statistics(chosen, [x if isinstance(x, str) else None for x in own])
        if len(by) != len(chosen):
            raise CatalogueError(f"There are {len(by)} classes for {len(chosen)} specimen images.")
        return self._statistics(chosen, list(by))

    @abstractmethod
    def _read_into(
        self, target: NDArray[np.floating], rows: list[int], bands: list[int]
    ) -> None: ...

    @abstractmethod
    def _masks(self, rows: list[int]) -> NDArray[np.bool_]: ...

    @abstractmethod
    def _statistics(self, rows: list[int], classes: list[str | None]) -> SpectralStatistics: ...


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


def gather(
    load: Callable[[int], SpectralStatistics],
    rows: Sequence[int],
    classes: Sequence[str | None],
    num_threads: int | None = None,
) -> SpectralStatistics:
    """Load and merge the statistics of images, each assigned to its class where that is known.

    By groups, so that only so many covariances are in memory at once, however many images there
    are; the groups are the same for every source, and so is the result to the last bit.

    Args:
        load: Returns the statistics of one row; called from threads.
        rows: What to load.
        classes: Class of each row, None where unknown.
        num_threads: Rows loaded at once; by default as many as there are cores.
    """
    groups = []
    with ThreadPoolExecutor(num_threads or usable_cores()) as pool:
        for start in range(0, len(rows), _MERGE_GROUP):
            group = slice(start, start + _MERGE_GROUP)
            parts = pool.map(load, rows[group])
            named = [
                part if name is None else part.with_class(name)
                for part, name in zip(parts, classes[group], strict=True)
            ]
            groups.append(SpectralStatistics.merge(named))
    return SpectralStatistics.merge(groups)
