"""Every other raster that GDAL reads: GeoTIFF cubes, TIFF inside ENVI, ESRI `.bil`."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Window
from hyperspec.cubes.envi.wavelengths import check_count, to_nanometres
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import AxisError, CubeError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

# catch_warnings changes the whole process's filters, so only one thread may be inside.
_OPENING = threading.Lock()


class UnknownFormatError(CubeError):
    """GDAL knows no driver for the file."""


class RasterReader:
    """Reads bands and windows of one raster through rasterio.

    GDAL handles must not be shared between threads, so reading takes a lock.

    Args:
        path: The data file.
        size: Its size in bytes.

    Raises:
        CubeError: If GDAL does not know the file, or it is complex, of several types, shorter
            than declared, or scaled differently per band.
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
            self.scale_factor = _one_scale(source, path)
            if source.driver == "EHdr":
                _check_size(source, path, size)
        except CubeError:
            self.close()
            raise
        self.nodata: float | None = source.nodata

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
        dataset = self._opened()
        tags = [dataset.tags(index) for index in dataset.indexes]
        imagery = [dataset.tags(index, ns="IMAGERY") for index in dataset.indexes]
        # GDAL's own tag since 3.10 says its unit in its name; ENVI's came before.
        if all("CENTRAL_WAVELENGTH_UM" in tag for tag in imagery):
            texts, unit = [tag["CENTRAL_WAVELENGTH_UM"] for tag in imagery], "um"
        elif all("wavelength" in tag for tag in tags):
            texts, unit = [tag["wavelength"] for tag in tags], tags[0].get("wavelength_units", "")
        else:
            raise AxisError(
                f"{self._path} ({self.driver}) has no wavelengths in its bands' tags; give the "
                f"axis (start, stop and count in nm), with {self.shape[0]} bands."
            )
        try:
            values = [float(text) for text in texts]
        except ValueError as error:
            raise AxisError(
                f"{self._path}: a band's wavelength tag is no number: {error}"
            ) from None
        check_count(values, self.shape[0], str(self._path))
        return SpectralAxis(to_nanometres(values, unit, str(self._path)))

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


def open_quietly(path: Path) -> DatasetReader:
    """Open a raster that need not have a place on the globe, as specimens and masks have none."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


def _open(path: Path) -> DatasetReader:
    from rasterio.errors import RasterioError

    try:
        return open_quietly(path)
    except RasterioError as error:
        raise UnknownFormatError(f"{path} cannot be read by GDAL: {error}") from error


def _one_type(source: DatasetReader, path: Path) -> np.dtype[np.generic]:
    names = sorted(set(source.dtypes))
    if len(names) > 1 or "complex" in names[0]:
        raise CubeError(
            f"{path} ({source.driver}) holds {', '.join(names)} values; one real type is read. "
            "Write the real part or the magnitude first."
        )
    dtype: np.dtype[np.generic] = np.dtype(names[0])
    return dtype


def _one_scale(source: DatasetReader, path: Path) -> float:
    """Return the value that stands for a reflectance of 1, from GDAL's scale and offset."""
    scales, offsets = set(source.scales), set(source.offsets)
    if len(scales) > 1 or offsets != {0.0} or not all(np.isfinite(s) and s > 0 for s in scales):
        raise CubeError(
            f"{path} ({source.driver}) has scales {sorted(scales)[:3]} and offsets "
            f"{sorted(offsets)[:3]}; only one positive scale without offset is read."
        )
    return 1.0 / float(scales.pop())


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
