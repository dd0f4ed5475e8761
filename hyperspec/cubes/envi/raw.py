"""Raw ENVI cubes: read through a memory map, and written with their sidecar header."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from hyperspec.cubes.cube import Window
from hyperspec.cubes.envi.header import DATA_TYPES, FILE_ORDER, EnviHeader
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.atomic import replacing, write_text
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
        trailing_bytes: ``ignore`` takes longer files too, with a warning.

    Raises:
        CubeError: If the file is not as large as the header declares. GDAL accepts longer files;
            here they are refused, since a header of another cube looks just like that.
    """

    def __init__(
        self, path: Path, header: EnviHeader, size: int, trailing_bytes: str = "refuse"
    ) -> None:
        if size > header.data_bytes and trailing_bytes == "ignore":
            warnings.warn(
                f"{path}: {size - header.data_bytes} bytes behind the values that "
                f"{header.path.name} declares are left out.",
                stacklevel=4,
            )
        elif size != header.data_bytes:
            relation = "shorter" if size < header.data_bytes else "longer"
            more = " (data.trailing_bytes=ignore reads it without its end)"
            raise CubeError(
                f"{path} has {size} bytes, {relation} than the {header.data_bytes} that "
                f"{header.path.name} declares ({header.bands} bands, {header.lines} lines, "
                f"{header.samples} samples of {header.dtype.itemsize} bytes after an offset of "
                f"{header.offset}). Copy the file again, or correct the header"
                f"{more if size > header.data_bytes else ''}."
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


Interleave = Literal["bil", "bip", "bsq"]

_BLOCK_BYTES = 32 * 2**20  # converted at a time, so that a memory map is not copied whole
_PER_LINE = 8  # list items on one header line


def write_envi(
    path: str | os.PathLike[str],
    array: ArrayLike,
    axis: SpectralAxis | None,
    *,
    interleave: Interleave = "bil",
    dtype: DTypeLike | None = None,
    byte_order: Literal[0, 1] = 0,
    header_offset: int = 0,
    scale_factor: float | None = None,
    header_suffix: str = ".hdr",
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Write a cube and its header, each under a temporary name first.

    The data file takes its name before the header does, so a header never announces a cube that
    is not there.

    Args:
        path: The data file. Its folder is made when it does not exist.
        array: Stored values, shape ``(C, H, W)``: they are written as they are, not multiplied by
            the scale factor. Floats are rounded when ``dtype`` is an integer type.
        axis: Band centres, widths and bad bands, ``C`` of them; None writes none of the three.
        interleave: Order of the file.
        dtype: Type in the file; the array's own by default. One of ENVI's real types.
        byte_order: 0 for little endian, 1 for big endian.
        header_offset: Bytes before the first value, written as zeros.
        scale_factor: The stored value that stands for a reflectance of 1 (reading divides by it).
        header_suffix: ``.hdr`` replaces the extension (``x.hdr``); ``.bil.hdr``, or any other
            name that ends in ``.hdr``, is put after the stem (``x.bil.hdr``).
        extra: Further header fields, such as ``{"data ignore value": "65535"}``.

    Returns:
        The path of the header.

    Raises:
        CubeError: If shapes, types or values cannot be written as asked.
    """
    target = Path(path)
    values = np.asanyarray(array)
    stored = _stored_type(values, dtype, byte_order)
    _check(values, axis, interleave, header_offset, header_suffix, target)
    fields = _fields(values.shape, stored, interleave, byte_order, header_offset)
    text = _header_text(fields | _spectral_fields(axis), scale_factor, extra or {})
    ordered = values.transpose(FILE_ORDER[interleave])
    step = max(1, _BLOCK_BYTES // max(1, ordered[0].nbytes))
    with replacing(target) as part, part.open("wb") as file:
        file.write(bytes(header_offset))
        for start in range(0, len(ordered), step):
            file.write(_converted(ordered[start : start + step], stored).tobytes())
    header = header_path(target, header_suffix)
    write_text(header, text)
    return header


def _header_text(
    fields: dict[str, str], scale_factor: float | None, extra: Mapping[str, str]
) -> str:
    if scale_factor is not None:
        fields["reflectance scale factor"] = repr(float(scale_factor))
    for key, value in extra.items():
        _check_extra(key, value, fields)
        fields[key] = value
    return "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in fields.items())


def header_path(path: Path, header_suffix: str = ".hdr") -> Path:
    """Return the header's path for a data file: ``x.bil`` -> ``x.hdr`` or ``x.bil.hdr``."""
    return path.with_name(path.stem + header_suffix)


def _stored_type(
    values: NDArray[np.generic], dtype: DTypeLike | None, byte_order: int
) -> np.dtype[np.generic]:
    native = np.dtype(values.dtype if dtype is None else dtype).newbyteorder("=")
    if native not in DATA_TYPES.values():
        names = ", ".join(str(known) for known in DATA_TYPES.values())
        raise CubeError(
            f"Values of type {native} have no ENVI data type here; give dtype as one of {names}."
        )
    if byte_order not in (0, 1):
        raise CubeError(f"byte_order is {byte_order!r}; ENVI knows 0 (little) and 1 (big endian).")
    return native.newbyteorder("<" if byte_order == 0 else ">")


def _check(
    values: NDArray[np.generic],
    axis: SpectralAxis | None,
    interleave: str,
    header_offset: int,
    header_suffix: str,
    target: Path,
) -> None:
    if values.ndim != 3 or 0 in values.shape:
        raise CubeError(
            f"An array of shape {values.shape} is no cube; write (bands, lines, samples), each "
            "at least 1."
        )
    if axis is not None and len(axis) != values.shape[0]:
        raise CubeError(
            f"The array has {values.shape[0]} bands, but the axis has {len(axis)}; "
            f"{target} was not written."
        )
    if interleave not in FILE_ORDER:
        raise CubeError(f"interleave is {interleave!r}; it must be bil, bip or bsq.")
    if header_offset < 0:
        raise CubeError(f"header_offset is {header_offset}; it must be 0 or more bytes.")
    if not header_suffix.endswith(".hdr") or header_path(target, header_suffix) == target:
        raise CubeError(
            f"header_suffix {header_suffix!r} for {target.name} does not name a header; use "
            "'.hdr' or '.bil.hdr' and a data file that does not end in .hdr."
        )


def _fields(
    shape: tuple[int, ...],
    stored: np.dtype[np.generic],
    interleave: str,
    byte_order: int,
    header_offset: int,
) -> dict[str, str]:
    native = stored.newbyteorder("=")
    return {
        "samples": str(shape[2]),
        "lines": str(shape[1]),
        "bands": str(shape[0]),
        "header offset": str(header_offset),
        "file type": "ENVI Standard",
        "data type": str(next(code for code, known in DATA_TYPES.items() if known == native)),
        "interleave": interleave,
        "byte order": str(byte_order),
    }


def _spectral_fields(axis: SpectralAxis | None) -> dict[str, str]:
    if axis is None:
        return {}
    # repr keeps every digit, so that the axis read back has the same hash.
    fields = {"wavelength units": "nm", "wavelength": _list(map(float, axis.wavelengths_nm))}
    if axis.fwhm_nm is not None:
        fields["fwhm"] = _list(map(float, axis.fwhm_nm))
    if not axis.good.all():
        fields["bbl"] = _list(map(int, axis.good))
    return fields


def _list(values: Iterable[float]) -> str:
    items = [repr(value) for value in values]
    rows = [", ".join(items[i : i + _PER_LINE]) for i in range(0, len(items), _PER_LINE)]
    return "{" + ",\n ".join(rows) + "}"


def _check_extra(key: str, value: str, fields: Mapping[str, str]) -> None:
    braced = value.startswith("{") and value.endswith("}")
    if key.strip().lower() in fields:
        raise CubeError(f"The header field {key!r} is written already; give it as an argument.")
    if not key.strip() or set(key) & set("={}\r\n;"):
        raise CubeError(f"{key!r} cannot be a header field: it is empty or holds one of = {{ }} ;.")
    if not braced and set(value) & set("{}\r\n"):
        raise CubeError(f"The header field {key!r} has several lines or braces; put it in {{ }}.")


def _converted(block: NDArray[np.generic], stored: np.dtype[np.generic]) -> NDArray[np.generic]:
    if np.can_cast(block.dtype, stored, "safe"):
        return block.astype(stored)
    if stored.kind in "iu":
        limits = np.iinfo(stored.str)
        low, high = block.min(), block.max()
        # `not >=` also catches NaN. 2.0**64 is above the largest uint64, hence `<` for floats.
        fits = low >= limits.min and high <= limits.max
        if block.dtype.kind == "f":
            fits = bool(np.rint(low) >= limits.min and np.rint(high) < float(limits.max) + 1)
            block = np.rint(block)
        if not fits:
            raise CubeError(
                f"Values from {low} to {high} do not fit {stored.newbyteorder('=')} "
                f"({limits.min} to {limits.max}); choose another dtype or rescale them."
            )
    return block.astype(stored)
