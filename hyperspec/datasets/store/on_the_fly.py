"""The store's images, made from the raw cubes at each call: nothing is written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.datasets.catalogue.records import Catalogue
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Frame, Preparer
from hyperspec.datasets.preparation.resample import resample
from hyperspec.datasets.store.source import PreparedSource, gather
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.cores import usable_cores
from hyperspec.utils.memory_share import share_memory

if TYPE_CHECKING:
    import pandas as pd


class DirectSource(PreparedSource):
    """The same images as the store's, from raw cubes; a ``SpecimenSource`` (``data.store=none``).

    The mask and the crop still come from all bands, so the first call reads each cube whole; later
    calls read the chosen bands only.

    Args:
        catalogue: The cubes.
        settings: How they are prepared.
    """

    def __init__(self, catalogue: Catalogue, settings: PrepareSettings) -> None:
        super().__init__(catalogue.axis, settings.size, settings.dtype)
        self._records = catalogue.records
        shapes = [record.shape for record in self._records]
        self._num_threads, cube_bytes = share_memory(shapes, usable_cores())
        self._preparer = Preparer(catalogue, settings, cube_bytes)
        self.calibration = tuple(self._preparer.calibrator.lines())
        self._frames: dict[int, Frame] = {}
        self.hash = self._preparer.hash
        """Sixteen hex digits of data, labels and preparation; the same as the store's."""

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per cube, in the order of the catalogue."""
        return self._preparer.catalogue.table()

    def __len__(self) -> int:
        return len(self._records)

    def _read_into(self, target: NDArray[np.floating], rows: list[int], bands: list[int]) -> None:
        def prepare(place: int) -> None:
            row = rows[place]
            frame, record = self._frames.get(row), self._records[row]
            if frame is None:
                self._frames[row], image = self._preparer.find_and_render(record, bands)
            else:
                image, _ = self._preparer.render(record, frame, bands)
            target[place] = image

        with ThreadPoolExecutor(self._num_threads) as pool:
            list(pool.map(prepare, range(len(rows))))

    def _masks(self, rows: list[int]) -> NDArray[np.bool_]:
        def render(frame: Frame) -> NDArray[np.bool_]:
            nothing = np.empty((0, *frame.foreground.shape), np.float32)
            return resample(nothing, frame.foreground, frame.box, self.size)[1]

        with ThreadPoolExecutor(self._num_threads) as pool:
            return np.stack([render(frame) for frame in pool.map(self._frame, rows)])

    def _statistics(self, rows: list[int], classes: list[str | None]) -> SpectralStatistics:
        def load(row: int) -> SpectralStatistics:
            return self._preparer.statistics(self._records[row], self._frame(row))

        return gather(load, rows, classes, self._num_threads)

    def _frame(self, row: int) -> Frame:
        # Two threads may find the same frame at once; both find the same.
        if row not in self._frames:
            self._frames[row] = self._preparer.locate(self._records[row])
        return self._frames[row]
