"""An open cube, and reading bands and windows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.acquisition import Acquisition
from hyperspec.cubes.gains import Gains
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection
from hyperspec.utils.arrays import output
from hyperspec.utils.errors import AxisError, BandError, CubeError


class Window(NamedTuple):
    """Part of a frame, in pixels.

    Args:
        row: First line, 0-based.
        col: First sample, 0-based.
        height: Number of lines, at least 1.
        width: Number of samples, at least 1.
    """

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Lines and samples as slices."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    def check(self, num_lines: int, num_samples: int, where: str) -> None:
        """Raise when the window does not lie inside the frame.

        Raises:
            CubeError: Naming the window and the frame.
        """
        inside = (
            self.row >= 0
            and self.col >= 0
            and self.row + self.height <= num_lines
            and self.col + self.width <= num_samples
        )
        if not inside or self.height < 1 or self.width < 1:
            raise CubeError(
                f"{tuple(self)} (row, col, height, width) is no window of {where}, which has "
                f"{num_lines} lines and {num_samples} samples."
            )


# Read at a time where memory must not grow with the cubes.
BLOCK_BYTES = 16 * 2**20


def blocks(
    num_bands: int, num_lines: int, num_samples: int, itemsize: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[Window]:
    """Cut a frame into windows of whole lines that hold about so many bytes.

    Lines that are larger than a block are cut as well.
    """
    per_line = num_bands * num_samples * itemsize
    rows = max(1, block_bytes // per_line)
    cols = num_samples if per_line <= block_bytes else max(1, block_bytes // (num_bands * itemsize))
    for row in range(0, num_lines, rows):
        for col in range(0, num_samples, cols):
            yield Window(row, col, min(rows, num_lines - row), min(cols, num_samples - col))


Bands = BandSelection | Sequence[int] | NDArray[np.integer]

# A few bands of a frame of 512 x 512 pixels: half of a common second-level cache.
_CONVERT_BYTES = 2**20


class Reader(Protocol):
    """What a file format must offer."""

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    bands_apart: bool
    """Whether reading a few bands at a time costs no more than all at once."""

    def read(self, bands: list[int], window: Window, out: NDArray[np.generic]) -> None:
        """Fill ``out`` with values in native byte order, shape ``(len(bands), height, width)``."""

    def close(self) -> None:
        """Release the file."""


class Cube:
    """An open cube; a context manager that keeps its file mapped until it is closed.

    Made by :func:`hyperspec.cubes.open_cube`. Band indices are 0-based.

    Args:
        path: The data file.
        header_path: Its header, None when the format has none.
        axis: Band centres, as many as there are bands.
        reader: Access to the file.
        nodata: Native value that marks missing pixels.
        scale_factor: Value that stands for a reflectance of 1: a native one, or what the gains
            lead to.
        gains: A line per band from native values to radiance or reflectance; None changes nothing.
        metadata: Fields of the header as text, under lower-case keys.
        acquisition: What the header says of the scan; lines behind a closed shutter are no part of
            the picture.
    """

    def __init__(
        self,
        path: Path,
        header_path: Path | None,
        axis: SpectralAxis,
        reader: Reader,
        *,
        nodata: float | None = None,
        scale_factor: float = 1.0,
        gains: Gains | None = None,
        metadata: Mapping[str, str] | None = None,
        acquisition: Acquisition | None = None,
    ) -> None:
        self.path = path
        self.header_path = header_path
        self.axis = axis
        self.nodata = nodata
        self.scale_factor = scale_factor
        self.gains = gains
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.acquisition = acquisition or Acquisition()
        self._reader = reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Cube({self.path.name!r}, {self.shape}, {self.dtype}, {self.axis})"

    def _repr_html_(self) -> str:
        """Show picture and mean spectrum, as notebooks do; of a closed cube the text alone."""
        from hyperspec.cubes.thumbnail import cube_html

        return cube_html(repr(self), self.axis, self.shape, self._read_line)

    def _read_line(self, row: int, bands: list[int] | None) -> NDArray[np.float32]:
        return self.read(bands, Window(row, 0, 1, self.num_samples))[:, 0]

    def close(self) -> None:
        """Release the file; reading afterwards is an error."""
        self._reader.close()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, lines and samples of the picture: ``(C, H, W)``."""
        bands, lines, samples = self._reader.shape
        return bands, self.acquisition.dark_start or lines, samples

    @property
    def num_bands(self) -> int:
        """Number of bands, C."""
        return self.shape[0]

    @property
    def num_lines(self) -> int:
        """Number of lines, H."""
        return self.shape[1]

    @property
    def num_samples(self) -> int:
        """Number of samples, W."""
        return self.shape[2]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the stored values, in native byte order."""
        return self._reader.dtype

    @property
    def is_scaled(self) -> bool:
        """Whether the file says itself how its values become reflectance."""
        to_reflectance = self.gains is not None and self.gains.quantity == "reflectance"
        return self.scale_factor != 1 or to_reflectance

    def read_raw(
        self,
        bands: Bands | None = None,
        window: Window | None = None,
        out: NDArray[np.generic] | None = None,
    ) -> NDArray[np.generic]:
        """Return stored values as they are.

        Args:
            bands: A selection made for this axis, or 0-based indices in the wanted order; None
                means all.
            window: Part of the frame; None means all of it.
            out: Where to put them: contiguous, of the result's shape and the file's type in native
                byte order. Nothing is allocated then: memory that is new to the process has to be
                cleared by the system first.

        Returns:
            ``out``, or a new contiguous array of shape ``(n, h, w)``.

        Raises:
            BandError: If there is no such band.
            AxisError: If the selection was made for another axis.
            CubeError: If the window leaves the frame, or the cube is closed.
            HyperspecError: If ``out`` does not fit.
        """
        indices, part = self._indices(bands), self._part(window)
        target = output(out, (len(indices), part.height, part.width), self.dtype)
        self._reader.read(indices, part, target)
        return target

    def read(
        self,
        bands: Bands | None = None,
        window: Window | None = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return reflectance: stored values by gains and scale factor, NaN where there are none.

        Args:
            bands: As for :meth:`read_raw`.
            window: As for :meth:`read_raw`.
            out: As for :meth:`read_raw`, float32.

        Returns:
            ``out``, or a new contiguous array of shape ``(n, h, w)``; not clipped.

        Raises:
            BandError: If there is no such band.
            AxisError: If the selection was made for another axis.
            CubeError: If the window leaves the frame, or the cube is closed.
            HyperspecError: If ``out`` does not fit.
        """
        return self._reflectance(self._indices(bands), self._part(window), out)

    def read_dark(self, bands: Bands | None = None) -> NDArray[np.float32] | None:
        """Return the lines behind a closed shutter, as :meth:`read` does the picture's.

        Args:
            bands: As for :meth:`read_raw`.

        Returns:
            Shape ``(n, dark lines, W)``; None when the header names none.
        """
        first = self.acquisition.dark_start
        if first is None:
            return None
        lines = self._reader.shape[1] - first
        part = Window(first, 0, lines, self.num_samples)
        return self._reflectance(self._indices(bands), part, None)

    def _reflectance(
        self, indices: list[int], part: Window, out: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        shape = (part.height, part.width)
        target = output(out, (len(indices), *shape), np.dtype(np.float32))
        # Some bands at a time, so that their stored values are still in the processor's cache when
        # they are converted, and are never all in memory beside the result.
        step = len(indices)
        if self._reader.bands_apart:
            step = max(_CONVERT_BYTES // (part.height * part.width * self.dtype.itemsize), 1)
        raw = np.empty((min(step, len(indices)), *shape), self.dtype)
        for start in range(0, len(indices), step):
            some = indices[start : start + step]
            self._reader.read(some, part, raw[: len(some)])
            self._convert(raw[: len(some)], some, target[start : start + step])
        return target

    def _part(self, window: Window | None) -> Window:
        part = Window(0, 0, *self.shape[1:]) if window is None else Window(*map(int, window))
        part.check(self.num_lines, self.num_samples, str(self.path))
        return part

    def _convert(
        self, raw: NDArray[np.generic], bands: list[int], out: NDArray[np.float32]
    ) -> None:
        if self.gains is not None:
            self.gains.apply(raw, bands, self.scale_factor, out)
        elif self.scale_factor == 1:
            out[...] = raw
        else:
            # Types that float32 cannot hold are divided first, so that only the result is rounded.
            wide = np.float32 if np.can_cast(raw.dtype, np.float32) else np.float64
            np.divide(raw, wide(self.scale_factor), dtype=wide, casting="unsafe", out=out)
        missing = self._missing(raw)
        if missing is not None:
            out[missing] = np.nan

    def _missing(self, raw: NDArray[np.generic]) -> NDArray[np.bool_] | None:
        if self.nodata is None or np.isnan(self.nodata):
            return None
        if raw.dtype.kind == "f":
            # A header's -1e34 is meant as the nearest float32.
            with np.errstate(over="ignore"):
                return np.asarray(raw == raw.dtype.type(self.nodata))
        limits = np.iinfo(raw.dtype.str)
        if not (self.nodata.is_integer() and limits.min <= self.nodata <= limits.max):
            return None  # 65535.5, or -9999 in an unsigned file: no pixel can have it
        return np.asarray(raw == raw.dtype.type(int(self.nodata)))

    def _indices(self, bands: Bands | None) -> list[int]:
        if bands is None:
            return list(range(self.num_bands))
        if isinstance(bands, BandSelection):
            same = bands.axis is self.axis or bands.axis == self.axis
            different = [] if same else bands.axis.differences(self.axis)
            if different:
                raise AxisError(
                    f"bands={bands.strategy} was chosen on another axis than that of {self.path}: "
                    f"{'; '.join(different)}. Find the same wavelengths with "
                    "selection.resolve(axis)."
                )
            return list(bands.indices)
        chosen = np.asarray(bands)
        if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
            raise BandError(
                f"bands={str(bands)[:60]} does not name bands of {self.path}; give a selection or "
                "at least one 0-based index."
            )
        outside = chosen[(chosen < 0) | (chosen >= self.num_bands)]
        if outside.size:
            raise BandError(
                f"Band {outside[0]} was asked of {self.path}, which has bands 0 to "
                f"{self.num_bands - 1} (indices are 0-based)."
            )
        return [int(index) for index in chosen]
