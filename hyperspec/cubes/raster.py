"""Other rasters, through GDAL: GeoTIFF cubes, TIFF inside ENVI, ESRI `.bil`, pictures."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Window
from hyperspec.cubes.formats import refuse_foreign
from hyperspec.cubes.gains import Gains, gains_or_none
from hyperspec.cubes.raster_axis import axis_of_raster, good_bands
from hyperspec.cubes.vrt import check_vrt, is_vrt
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CubeError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

# What GDAL may open: rasters that hold their values themselves. Of others (VRT, WMS, tile indexes,
# STAC, ...) a file is a description that names further files or addresses, which GDAL would follow
# whatever the file's own name is.
DRIVERS = (
    *("GTiff", "EHdr", "HFA", "JP2OpenJPEG", "RST", "SAGA"),
    *("PNG", "JPEG", "BMP", "GIF", "PNM", "WEBP", "TGA"),
)

# catch_warnings changes the whole process's filters, so only one thread may be inside.
_OPENING = threading.Lock()


class UnknownFormatError(CubeError):
    """None of the formats that GDAL may read."""


class RasterReader:
    """Reads bands and windows of one raster through rasterio.

    GDAL handles must not be shared between threads, so reading takes a lock.

    Args:
        path: The data file.
        size: Its size in bytes.

    Raises:
        CubeError: If GDAL does not know the file, or it is complex, of several types, shorter
            than declared, or has several nodata values.
    """

    # A block of a compressed or pixel-interleaved file holds many bands.
    bands_apart = False

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._lock = threading.Lock()
        self._dataset: DatasetReader | None = _open(path)
        source = self._dataset
        self.driver: str = source.driver
        self.shape: tuple[int, int, int] = (source.count, source.height, source.width)
        try:
            self.dtype = _one_type(source, path)
            self.scale_factor, self.gains = _scaling(source, path)
            self.nodata = _one_nodata(source, path)
            if source.driver == "EHdr":
                _check_size(source, path, size)
        except CubeError:
            self.close()
            raise

    def read(self, bands: list[int], window: Window, out: NDArray[np.generic]) -> None:
        """Fill ``out`` with values, shape ``(len(bands), height, width)``.

        Raises:
            CubeError: If GDAL fails to read.
        """
        from rasterio.errors import RasterioError
        from rasterio.windows import Window as RasterWindow

        with self._lock:
            dataset = self._opened()
            part = RasterWindow(window.col, window.row, window.width, window.height)
            try:
                # rasterio counts bands from 1, everything else here from 0.
                dataset.read([band + 1 for band in bands], window=part, out=out)
            except RasterioError as error:
                raise CubeError(f"{self._path} cannot be read by GDAL: {error}") from error

    def axis(self) -> SpectralAxis:
        """Return the axis that the bands' tags tell.

        Raises:
            AxisError: If they tell none, or one that cannot be used.
        """
        return axis_of_raster(self._opened(), self._path)

    def good(self) -> NDArray[np.bool_]:
        """Return which bands may be used, shape ``(C,)``, as their tags tell (`bbl`)."""
        return good_bands(self._opened(), self._path)

    def _opened(self) -> DatasetReader:
        if self._dataset is None:
            raise CubeError(f"{self._path} is closed; open it again to read from it.")
        return self._dataset

    @property
    def is_open(self) -> bool:
        """Whether GDAL holds the file."""
        return self._dataset is not None

    def again(self) -> RasterReader:
        """Return the same file, opened anew."""
        return RasterReader(self._path, self._size)

    def close(self) -> None:
        """Close GDAL's handle."""
        if self._dataset is not None:
            self._dataset.close()
        self._dataset = None


def open_quietly(path: Path, drivers: Sequence[str] = DRIVERS) -> DatasetReader:
    """Open a raster that need not have a place on the globe, as specimens and masks have none.

    Args:
        path: The file.
        drivers: The formats that it may have, as GDAL calls them.

    Raises:
        CubeError: If it names other files that it may not.
        RasterioError: If it is of none of the formats that are read.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.io import DatasetReader  # rasterio.open takes one driver, not several

    if is_vrt(path):
        for source in check_vrt(path):
            if not is_vrt(source):
                open_quietly(source).close()  # GDAL would follow it whatever it is
        drivers = ("VRT",)
    with _OPENING, warnings.catch_warnings(), rasterio.Env():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return DatasetReader(str(path), driver=list(drivers))


def _open(path: Path) -> DatasetReader:
    from rasterio.errors import RasterioError

    refuse_foreign(path)
    try:
        return open_quietly(path)
    except RasterioError as error:
        if is_vrt(path):
            raise CubeError(f"The virtual raster {path} cannot be read: {error}") from error
        raise UnknownFormatError(
            f"{path} cannot be read by GDAL as one of {', '.join(DRIVERS)}: {error}"
        ) from error


def _one_type(source: DatasetReader, path: Path) -> np.dtype[np.generic]:
    names = sorted(set(source.dtypes))
    if len(names) > 1 or "complex" in names[0]:
        raise CubeError(
            f"{path} ({source.driver}) holds {', '.join(names)} values; one real type is read. "
            "Write the real part or the magnitude first."
        )
    dtype: np.dtype[np.generic] = np.dtype(names[0])
    return dtype


def _scaling(source: DatasetReader, path: Path) -> tuple[float, Gains | None]:
    """Return the value that stands for a reflectance of 1, or the bands' scales and offsets."""
    scales, offsets = np.asarray(source.scales), np.asarray(source.offsets)
    if not (np.isfinite(scales).all() and (scales > 0).all() and np.isfinite(offsets).all()):
        raise CubeError(
            f"{path} ({source.driver}) has scales {sorted(set(source.scales))[:3]} and offsets "
            f"{sorted(set(source.offsets))[:3]}; finite ones are read, and scales above 0."
        )
    if len(set(source.scales)) == 1 and not offsets.any():
        return 1.0 / float(scales[0]), None
    return 1.0, gains_or_none(scales, offsets, "a physical value")  # which one, GDAL cannot say


def _one_nodata(source: DatasetReader, path: Path) -> float | None:
    """Return the nodata value of all bands; NaN is not equal to itself, hence the text."""
    values: dict[str, float | None] = {str(value): value for value in source.nodatavals}
    if len(values) > 1:
        raise CubeError(
            f"{path} ({source.driver}) has several nodata values, {', '.join(list(values)[:3])}; "
            "write all bands with one (gdalwarp -dstnodata)."
        )
    return next(iter(values.values()))


def _check_size(source: DatasetReader, path: Path, size: int) -> None:
    """ESRI rasters are raw too, but GDAL fills what a truncated one lacks with zeros."""
    bits = int(source.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "0"))
    bits = bits or np.dtype(source.dtypes[0]).itemsize * 8
    declared = source.count * source.height * ((source.width * bits + 7) // 8)
    if size < declared:
        raise CubeError(
            f"{path} has {size} bytes, shorter than the {declared} that its ESRI header declares "
            f"({source.count} bands, {source.height} lines, {source.width} samples of {bits} "
            "bits). Copy the file again, or correct the header."
        )
