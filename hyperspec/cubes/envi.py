"""Raw ENVI cubes through a memory map: only the bytes asked for are touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.header import EnviHeader
from hyperspec.cubes.window import Window
from hyperspec.spectra.errors import CubeError


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
        counts = {"c": header.bands, "h": header.lines, "w": header.samples}
        order = {"bsq": "chw", "bil": "hcw", "bip": "hwc"}[header.interleave]
        try:
            self._map: np.memmap[tuple[int, int, int], np.dtype[np.generic]] | None = np.memmap(
                path,
                header.dtype,
                "r",
                header.offset,
                (counts[order[0]], counts[order[1]], counts[order[2]]),
            )
        except OSError as error:
            raise CubeError(f"{path} cannot be mapped: {error}.") from error

    def read(self, bands: list[int], window: Window) -> NDArray[np.generic]:
        """Return values in native byte order, shape ``(len(bands), height, width)``."""
        if self._map is None:
            raise CubeError(f"{self._path} is closed; open it again to read from it.")
        rows = slice(window.row, window.row + window.height)
        cols = slice(window.col, window.col + window.width)
        # In each order NumPy gathers one band after the other, so the result is band-major in
        # memory and no second copy is made.
        if self._interleave == "bsq":
            values = self._map[bands, rows, cols]
        elif self._interleave == "bil":
            values = self._map[rows, bands, cols].transpose(1, 0, 2)
        else:
            values = self._map[rows, cols, bands].transpose(2, 0, 1)
        return np.ascontiguousarray(values, self.dtype).view(np.ndarray)

    def close(self) -> None:
        """Release the memory map."""
        self._map = None
