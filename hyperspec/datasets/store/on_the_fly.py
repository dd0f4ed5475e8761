"""Specimen images prepared from the raw cubes at each call; nothing is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.datasets.catalogue.records import Catalogue
from hyperspec.datasets.preparation.prepare import Frame, Preparer
from hyperspec.datasets.preparation.resample import resample
from hyperspec.datasets.preparation.settings import PrepareSettings
from hyperspec.datasets.store.source import Bands, band_indices, check_rows, classes_of, gather
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.arrays import output

if TYPE_CHECKING:
    import pandas as pd


class DirectSource:
    """The same images as the store's, from raw cubes; a ``SpecimenSource`` (``data.store=none``).

    The mask and the crop still come from all bands, so the first call reads each cube whole; later
    calls read the chosen bands only.

    Args:
        catalogue: The cubes.
        settings: How they are prepared.
    """

    def __init__(self, catalogue: Catalogue, settings: PrepareSettings) -> None:
        self.settings = settings
        self._preparer = Preparer(catalogue, settings)
        self._records = catalogue.records
        self._frames: dict[int, Frame] = {}

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per cube, in the order of the catalogue."""
        return self._preparer.catalogue.table()

    @property
    def axis(self) -> SpectralAxis:
        """The axis of all bands."""
        return self._preparer.catalogue.axis

    @property
    def size(self) -> int:
        """Lines and samples of an image."""
        return self.settings.size

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Type of the planes."""
        return np.dtype(self.settings.dtype)

    @property
    def hash(self) -> str:
        """Sixteen hex digits of data, labels and preparation; the same as the store's."""
        return self._preparer.hash

    def __len__(self) -> int:
        return len(self._records)

    def planes(
        self,
        rows: Sequence[int],
        bands: Bands | None = None,
        out: NDArray[np.floating] | None = None,
    ) -> NDArray[np.floating]:
        """Prepare some images at some bands.

        Args:
            rows: Rows of the table.
            bands: A selection, or 0-based indices; None means all. Their order is kept.
            out: Where to put them: contiguous, of the result's shape and type.

        Returns:
            Shape ``(len(rows), n, S, S)``, equal to the store's.
        """
        chosen = check_rows(rows, len(self))
        indices = band_indices(bands, self.axis)
        shape = (len(chosen), len(indices), self.size, self.size)
        target = output(out, shape, self.dtype)

        def prepare(place: int) -> None:
            row = chosen[place]
            frame, record = self._frames.get(row), self._records[row]
            if frame is None:
                self._frames[row], image = self._preparer.find_and_render(record, indices)
            else:
                image, _ = self._preparer.render(record, frame, indices)
            target[place] = image

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(prepare, range(len(chosen))))
        return target

    def masks(self, rows: Sequence[int]) -> NDArray[np.bool_]:
        """Return foregrounds, shape ``(len(rows), S, S)``."""
        chosen, found = check_rows(rows, len(self)), []
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            frames = list(pool.map(self._frame, chosen))
        for frame in frames:
            nothing = np.empty((0, *frame.foreground.shape), np.float32)
            found.append(resample(nothing, frame.foreground, frame.box, self.size)[1])
        return np.stack(found)

    def statistics(
        self, rows: Sequence[int], by: Sequence[str | None] | None = None
    ) -> SpectralStatistics:
        """Gather the statistics of some cubes' foreground; reads all their bands.

        Args:
            rows: Rows of the table, without repetition.
            by: Class of each of these rows, None where unknown; by default the cubes' labels.
        """
        chosen = check_rows(rows, len(self))
        classes = classes_of(chosen, by, [record.label for record in self._records])
        return gather(
            lambda row: self._preparer.statistics(self._records[row], self._frame(row)),
            chosen,
            classes,
        )

    def _frame(self, row: int) -> Frame:
        # Two threads may find the same frame at once; both find the same.
        if row not in self._frames:
            self._frames[row] = self._preparer.locate(self._records[row])
        return self._frames[row]
