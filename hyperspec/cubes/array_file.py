"""Cubes as bare arrays: NumPy's ``.npy`` and MATLAB's ``.mat``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Window
from hyperspec.cubes.formats import refuse_foreign
from hyperspec.cubes.mat_file import open_mat
from hyperspec.cubes.read_options import BAND_PLACES, ReadOptions
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import AxisError, CubeError
from hyperspec.utils.npy import read_npy

ARRAY_SUFFIXES: Final = (".npy", ".mat")


class ArrayReader:
    """Reads bands and windows of an array: a memory map of ``.npy``, in memory from ``.mat``.

    Args:
        path: The file.
        values: All values, shape ``(C, H, W)``.
    """

    bands_apart = True

    def __init__(self, path: Path, values: NDArray[np.generic]) -> None:
        self._path = path
        self._values: NDArray[np.generic] | None = values
        self.shape: tuple[int, int, int] = values.shape
        self.dtype = values.dtype.newbyteorder("=")

    def read(self, bands: list[int], window: Window, out: NDArray[np.generic]) -> None:
        """Fill ``out`` with values in native byte order, shape ``(len(bands), height, width)``."""
        if self._values is None:
            raise CubeError(f"{self._path} is closed; open it again to read from it.")
        rows, cols = window.slices
        for place, band in enumerate(bands):
            out[place] = self._values[band, rows, cols]

    def close(self) -> None:
        """Release the array."""
        self._values = None


def open_array(path: Path, axis: SpectralAxis | None, options: ReadOptions) -> ArrayReader:
    """Open an array as a cube on a given axis.

    Raises:
        AxisError: If there is no axis, or no dimension has its length.
        CubeError: If the file holds no such array, several that could be meant, or the axis fits
            several dimensions.
    """
    refuse_foreign(path)
    if axis is None:
        raise AxisError(
            f"{path} is a bare array without wavelengths; give the axis (data.axis: start, stop "
            "and count in nm, or data.axis.file)."
        )
    values = _from_mat(path, options) if path.suffix.lower() == ".mat" else _from_npy(path)
    shape = f"{path} holds an array of shape {values.shape}"
    if values.ndim != 3 or 0 in values.shape:
        raise CubeError(f"{shape}; a cube has three dimensions: lines, samples and bands.")
    if values.dtype.kind not in "iuf" or values.dtype.itemsize > 8:
        raise CubeError(f"{shape} and type {values.dtype}; real numbers are read.")
    place = _band_place(values.shape, len(axis), options, shape)
    return ArrayReader(path, np.moveaxis(values, place, 0))


def _band_place(shape: tuple[int, ...], count: int, options: ReadOptions, where: str) -> int:
    fitting = [place for place in range(3) if shape[place] == count]
    if options.array_bands != "auto":
        place = BAND_PLACES.index(options.array_bands) - 1
        if place in fitting:
            return place
        raise AxisError(
            f"{where}, whose {options.array_bands} dimension has {shape[place]} items, but the "
            f"axis {count} bands (data.array_bands={options.array_bands})."
        )
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise AxisError(f"{where}, but the axis has {count} bands; give the axis of this cube.")
    raise CubeError(
        f"{where}, of which {len(fitting)} dimensions are as long as the axis. Say which holds the "
        "bands: data.array_bands=first, middle or last (MATLAB's cubes: last)."
    )


def _from_npy(path: Path) -> NDArray[np.generic]:
    try:
        values: NDArray[np.generic] = read_npy(
            lambda: np.load(path, mmap_mode="r", allow_pickle=False)
        )
    except (OSError, ValueError, EOFError) as error:
        raise CubeError(f"The array {path} cannot be read: {error}.") from error
    return values


def _from_mat(path: Path, options: ReadOptions) -> NDArray[np.generic]:
    file = open_mat(path)
    key = options.array_key or _only_cube(path, file.arrays)
    if key not in file.arrays:
        raise CubeError(
            f"{path} holds no {key!r} (data.array_key); it holds {_listed(file.arrays)}."
        )
    return file.read(key)


def _only_cube(path: Path, known: Mapping[str, tuple[tuple[int, ...], str]]) -> str:
    cubes = [name for name, (shape, _) in known.items() if len(shape) == 3]
    if len(cubes) == 1:
        return cubes[0]
    raise CubeError(
        f"{path} holds {'no' if not cubes else 'several'} arrays of three dimensions: it holds "
        f"{_listed(known)}. Name the cube with data.array_key."
    )


def _listed(known: Mapping[str, tuple[tuple[int, ...], str]]) -> str:
    texts = [f"{name} {'×'.join(map(str, shape))} {kind}" for name, (shape, kind) in known.items()]
    return ", ".join(texts) or "nothing"
