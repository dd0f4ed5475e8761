"""Open a cube: find its header, look at what it is, choose the reader."""

from __future__ import annotations

import os
from pathlib import Path

from hyperspec.cubes.acquisition import Acquisition
from hyperspec.cubes.array_file import ARRAY_SUFFIXES, open_array
from hyperspec.cubes.band_set import open_band_set
from hyperspec.cubes.cube import Cube, Window
from hyperspec.cubes.envi.header import (
    EnviHeader,
    is_envi,
    is_esri,
    parse_header,
    read_header_bytes,
)
from hyperspec.cubes.envi.header_match import check_described
from hyperspec.cubes.envi.raw import EnviReader
from hyperspec.cubes.envi.scaling import gains_of, scale_factor_of
from hyperspec.cubes.envi.wavelengths import axis_from_header, check_given
from hyperspec.cubes.files import check_data_file, find_data, find_header, require_header
from hyperspec.cubes.raster import RasterReader, UnknownFormatError
from hyperspec.cubes.read_options import AS_THEY_ARE, ReadOptions
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import AxisError, CubeError

__all__ = ["Cube", "Window", "open_cube"]


def open_with_own_axis(
    path: Path, axis: SpectralAxis | None, options: ReadOptions = AS_THEY_ARE
) -> tuple[Cube, bool]:
    """Open a cube with its own wavelengths where it has any, else with the given axis.

    Returns:
        The open cube, and whether the given axis was used.

    Raises:
        CubeError: As :func:`open_cube`.
        AxisError: If the cube has no usable wavelengths and none are given.
    """
    try:
        return open_cube(path, options=options), False
    except AxisError:
        if axis is None:
            raise
        return open_cube(path, axis, options=options), True


def open_cube(
    path: str | os.PathLike[str],
    axis: SpectralAxis | None = None,
    *,
    header: str | os.PathLike[str] | None = None,
    options: ReadOptions = AS_THEY_ARE,
) -> Cube:
    """Open a cube for reading.

    Raw ENVI files and ``.npy`` are memory-mapped, ``.mat`` is loaded; other rasters go through
    rasterio.

    Args:
        path: The data file, its ENVI header, or a folder with one raster per band.
        axis: The axis of a cube without wavelengths; it replaces those of one that has them, with
            a warning where they differ.
        header: Another ENVI header than the one beside the data.
        options: What files leave open.

    Returns:
        The open cube.

    Raises:
        CubeError: If the header or the data are missing, contradictory or of a kind that is not
            read.
        AxisError: If there are no usable wavelengths and no axis is given, or its count differs.
    """
    data = Path(path)
    if data.is_dir() and header is None:
        return open_band_set(data, axis)
    found = None if header is None else Path(header)
    if data.suffix.lower() == ".hdr" and data.is_file():
        found = data if found is None else found
        data = find_data(data)
    size = check_data_file(data)
    found = find_header(data) if found is None else found
    content = b"" if found is None else read_header_bytes(found)
    if header is None and not is_envi(content):
        if data.suffix.lower() in ARRAY_SUFFIXES:
            return _open_array(data, axis, options)
        return _open_raster(data, size, found, content, axis)
    assert found is not None  # content would be empty
    parsed = parse_header(content, found)
    if header is None:
        check_described(data, size, parsed)
    return _open_envi(data, size, parsed, axis, options)


def _open_envi(
    data: Path, size: int, parsed: EnviHeader, axis: SpectralAxis | None, options: ReadOptions
) -> Cube:
    """Open a file that an ENVI header describes."""
    found = parsed.path
    if "classification" in parsed.file_type and axis is None:
        raise CubeError(
            f"{found}: `file type = {parsed.fields['file type']}` holds class numbers, not "
            "spectra; give the image cube, or an axis to read it all the same."
        )
    own_axis = axis_from_header(parsed, axis)
    try:
        acquisition = Acquisition.of(parsed.fields, parsed.lines)
    except CubeError as error:
        raise CubeError(f"{found}: {error}") from None
    nodata, tiff = parsed.number("data ignore value"), None
    if "tiff" in parsed.file_type:
        tiff = _tiff_reader(data, size, parsed)
        nodata = tiff.nodata if nodata is None else nodata
    reader = tiff or EnviReader(data, parsed, size, options.trailing_bytes)
    scale_factor = scale_factor_of(parsed, reader.dtype)
    return Cube(
        data,
        found,
        own_axis,
        reader,
        nodata=nodata,
        scale_factor=scale_factor,
        gains=gains_of(parsed, own_axis.good, scale_factor),
        metadata=parsed.fields,
        acquisition=acquisition,
    )


def _open_array(data: Path, axis: SpectralAxis | None, options: ReadOptions) -> Cube:
    reader = open_array(data, axis, options)
    assert axis is not None  # open_array asks for one
    return Cube(data, None, axis, reader)


def _open_raster(
    data: Path, size: int, header: Path | None, content: bytes, axis: SpectralAxis | None
) -> Cube:
    """Open a file without an ENVI header; GDAL knows it by its content or its ESRI header."""
    try:
        reader = RasterReader(data, size)
    except UnknownFormatError:
        if header is None:
            require_header(data)
        elif not is_esri(content):
            parse_header(content, header)
        raise
    try:
        if axis is None:
            axis = reader.axis()
        else:
            check_given(axis, reader.shape[0], f"{data} has")
            axis = SpectralAxis(axis.wavelengths_nm, axis.fwhm_nm, axis.good & reader.good())
    except AxisError:
        reader.close()
        raise
    return Cube(
        data,
        header,
        axis,
        reader,
        nodata=reader.nodata,
        scale_factor=reader.scale_factor,
        gains=reader.gains,
    )


def _tiff_reader(data: Path, size: int, header: EnviHeader) -> RasterReader:
    """Open a TIFF that an ENVI header describes: the layout is the TIFF's own."""
    reader = RasterReader(data, size)
    declared = (header.bands, header.lines, header.samples)
    if reader.driver == "GTiff" and reader.shape == declared:
        return reader
    reader.close()
    raise CubeError(
        f"{header.path} says `file type = TIFF` with (bands, lines, samples) {declared}, but "
        f"{data.name} is {reader.driver} with {reader.shape}; correct the header, or take it away "
        "if the file is a TIFF."
    )
