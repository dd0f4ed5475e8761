"""Raw ENVI cubes through a memory map: only the bytes asked for are touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Window
from hyperspec.cubes.envi.header import FILE_ORDER, EnviHeader
from hyperspec.utils.errors import CubeError
from hyperspec.utils.pread import fetch

# Of a cold BIL frame, 50 of 408 bands came twice as fast by reading all of it in sequence as by
# page faults, all bands 3.5 times. Small parts are left to page faults.
_FETCH_SHARE, _FETCH_BYTES = 0.1, 4 * 2**20


class EnviReader:
    """Reads bands and windows of one raw file, whose map stays open.

    Safe to use from several threads at once: nothing is changed by reading.

    Args:
        path: The data file.
        header: Its header.
        size: Size of the data file in bytes.

    Raises:
        CubeError: If the file is not as large as the header declares. GDAL accepts longer files;
            here they are refused, since a header of another cube looks just like that.
    """

    def __init__(self, path: Path, header: EnviHeader, size: int) -> None:
        if size != header.data_bytes:
            relation = "shorter" if size < header.data_bytes else "longer"
            raise CubeError(
                f"{path} has {size} bytes, {relation} than the {header.data_bytes} that "
                f"{header.path.name} declares ({header.bands} bands, {header.lines} lines, "
                f"{header.samples} samples of {header.dtype.itemsize} bytes after an offset of "
                f"{header.offset}). Copy the file again, or correct the header."
            )
        self.shape = (header.bands, header.lines, header.samples)
        self.dtype = header.dtype.newbyteorder("=")
        self._path = path
        self._interleave = header.interleave
        self.bands_apart = header.interleave != "bip"
        self._offset = header.offset
        one, two, three = (self.shape[axis] for axis in FILE_ORDER[header.interleave])
        try:
            self._map: np.memmap[tuple[int, int, int], np.dtype[np.generic]] | None = np.memmap(
                path, header.dtype, "r", header.offset, (one, two, three)
            )
        except OSError as error:
            raise CubeError(f"{path} cannot be mapped: {error}.") from error

    def read(self, bands: list[int], window: Window, out: NDArray[np.generic]) -> None:
        """Fill ``out`` with values in native byte order, shape ``(len(bands), height, width)``."""
        if self._map is None:
            raise CubeError(f"{self._path} is closed; open it again to read from it.")
        self._fetch(len(bands), window)
        rows, cols = window.slices
        if self._interleave == "bip":
            # Line by line: all bands of a line fit in the processor's cache, and a band of the
            # whole frame would touch all of the file.
            for line, values in enumerate(self._map[rows, cols]):
                out[:, line] = values.T[bands]
            return
        for place, band in enumerate(bands):
            out[place] = (
                self._map[band, rows, cols]
                if self._interleave == "bsq"
                else self._map[rows, band, cols]
            )

    def _fetch(self, num_bands: int, window: Window) -> None:
        """Read ahead where a large share of a part of the file is wanted."""
        if self._interleave == "bsq":
            return  # a band's lines lie together, and the kernel reads ahead along them
        line = self.shape[0] * self.shape[2] * self.dtype.itemsize
        wanted = num_bands * window.width / (self.shape[0] * self.shape[2])
        if wanted >= _FETCH_SHARE and window.height * line >= _FETCH_BYTES:
            fetch(self._path, self._offset + window.row * line, window.height * line)

    def close(self) -> None:
        """Release the memory map."""
        self._map = None
