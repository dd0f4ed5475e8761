"""Every other raster that GDAL reads: GeoTIFF cubes, TIFF inside ENVI, ESRI `.bil`.

A folder with one raster per band, or per set of bands, is one cube too.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Cube, Window
from hyperspec.cubes.envi.wavelengths import check_count, check_given, to_nanometres, warn_replaced
from hyperspec.cubes.files import BAND_SUFFIXES, band_files, check_data_file
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


# Of sets of more files, none is kept open: several threads with sets of 400 would reach the
# process's limit on open files.
_KEPT_OPEN = 32
# `B04_665nm`, `band_550.5nm`, `r-0850 nm`: a number directly before the unit.
_NM_IN_NAME = re.compile(r"(?<![0-9.])(\d{2,5}(?:\.\d+)?)\s*nm(?![a-z])", re.IGNORECASE)


class BandSetReader:
    """Reads several rasters of one frame as one cube, file after file.

    Args:
        readers: Rasters; closed ones are opened for each reading.
        names: Their file names, for messages.

    Raises:
        CubeError: If they differ in lines, samples, type, nodata or scale.
    """

    bands_apart = True

    def __init__(self, readers: Sequence[RasterReader], names: Sequence[str]) -> None:
        self._readers = list(readers)
        self._closed = False
        first = self._readers[0]
        traits: dict[str, list[object]] = {
            "lines and samples": [r.shape[1:] for r in readers],
            "type": [str(r.dtype) for r in readers],
            "nodata value": [str(r.nodata) for r in readers],  # NaN is not equal to itself
            "scale": [r.scale_factor for r in readers],
        }
        for what, values in traits.items():
            other = next((i for i, value in enumerate(values) if value != values[0]), None)
            if other is not None:
                raise CubeError(
                    f"The files of a band set must agree, but {names[other]} has {what} "
                    f"{values[other]} and {names[0]} {values[0]}. Take what does not belong out "
                    "of the folder, or warp all to one grid."
                )
        counts = [r.shape[0] for r in readers]
        self._starts = np.cumsum([0, *counts])
        self.shape = (sum(counts), first.shape[1], first.shape[2])
        self.dtype = first.dtype
        self.nodata = first.nodata
        self.scale_factor = first.scale_factor

    def read(self, bands: list[int], window: Window, out: NDArray[np.generic]) -> None:
        """Fill ``out`` with values, shape ``(len(bands), height, width)``.

        Each file is asked once for all of its bands.

        Raises:
            CubeError: If the cube is closed, or a file cannot be read.
        """
        if self._closed:
            raise CubeError("The band set is closed; open it again to read from it.")
        wanted = np.asarray(bands)
        owners = np.searchsorted(self._starts, wanted, side="right") - 1
        for owner in np.unique(owners):
            places = np.flatnonzero(owners == owner)
            part = np.empty((len(places), *out.shape[1:]), self.dtype)
            inside = (wanted[places] - self._starts[owner]).tolist()
            reader = self._readers[owner]
            if reader.is_open:
                reader.read(inside, window, part)
            else:
                with closing(reader.again()) as opened:
                    opened.read(inside, window, part)
            out[places] = part

    def close(self) -> None:
        """Close every file."""
        self._closed = True
        for reader in self._readers:
            reader.close()


def open_band_set(folder: Path, axis: SpectralAxis | None = None) -> Cube:
    """Open a folder with one raster per band, or per set of bands, as one cube.

    Wavelengths come from the bands' tags, else from a number with ``nm`` in the names of
    single-band files (``B04_665nm.tif``); then files are in the order of their first wavelength.
    Without any, the given axis is that of the files in the order of their names, numbers counted
    as numbers.

    Args:
        folder: The folder.
        axis: Axis of all bands; it replaces wavelengths of the files, with a warning where they
            differ.

    Raises:
        CubeError: If the folder holds no rasters, or they do not fit each other.
        AxisError: If wavelengths are missing or repeated, or the axis has another count.
    """
    files = band_files(folder)
    if not files:
        raise CubeError(
            f"{folder} is a folder; give one cube's data file. (A folder is read as one cube when "
            f"it holds one raster per band: {', '.join(BAND_SUFFIXES)}.)"
        )
    opened: list[RasterReader] = []
    try:
        centres: list[NDArray[np.float64] | AxisError] = []
        for path in files:
            opened.append(RasterReader(path, check_data_file(path)))
            centres.append(_wavelengths(opened[-1], path))
            if len(files) > _KEPT_OPEN:
                opened[-1].close()
        order, own = _order(files, centres, axis)
        reader = BandSetReader([opened[i] for i in order], [files[i].name for i in order])
        if axis is not None:
            check_given(axis, reader.shape[0], f"the files of {folder} have")
            if own is not None:
                warn_replaced(own, axis, f"{folder}: the given axis replaces the files'")
            own = axis
        assert own is not None  # without a given axis, missing wavelengths are an error
    except (CubeError, AxisError):
        for raster in opened:
            raster.close()
        raise
    metadata = {"band files": ", ".join(files[i].name for i in order)}
    return Cube(
        folder,
        None,
        own,
        reader,
        nodata=reader.nodata,
        scale_factor=reader.scale_factor,
        metadata=metadata,
    )


def _order(
    files: Sequence[Path],
    centres: Sequence[NDArray[np.float64] | AxisError],
    axis: SpectralAxis | None,
) -> tuple[list[int], SpectralAxis | None]:
    """Return the order of the files and their own axis, None where they have none."""
    known = [item for item in centres if not isinstance(item, AxisError)]
    if len(known) < len(files):
        if axis is None:
            raise next(item for item in centres if isinstance(item, AxisError))
        return list(range(len(files))), None
    order = sorted(range(len(files)), key=lambda i: known[i][0])
    own = SpectralAxis(np.concatenate([known[i] for i in order]))
    if axis is not None and len(np.unique(own.wavelengths_nm)) < len(own):
        return list(range(len(files))), None  # the number in the names is no band's wavelength
    _check_unique(own, [files[i] for i in order for _ in known[i]])
    return order, own


def _wavelengths(reader: RasterReader, path: Path) -> NDArray[np.float64] | AxisError:
    """Return a file's band centres, or the error that tells why it has none."""
    try:
        return reader.axis().wavelengths_nm
    except AxisError as error:
        found = _NM_IN_NAME.findall(path.stem)
        if reader.shape[0] == 1 and len(found) == 1:
            return np.array([float(found[0])])
        return AxisError(
            f"{path} has no wavelength: neither a tag of its bands nor, for a single band, one "
            f"number with nm in its name (such as B04_665nm.tif). ({error})"
        )


def _check_unique(axis: SpectralAxis, owners: Sequence[Path]) -> None:
    first: dict[float, Path] = {}
    for nm, owner in zip(axis.wavelengths_nm.tolist(), owners, strict=True):
        if nm in first:
            raise AxisError(
                f"{nm:g} nm occurs twice, in {first[nm].name} and {owner.name}: are they different "
                "scenes? Put the files of one cube into one folder of its own."
            )
        first[nm] = owner
