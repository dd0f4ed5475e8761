"""One cube in several files: a folder with one raster per band, or per set of bands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.cube import Cube, Window
from hyperspec.cubes.envi.wavelengths import check_given, warn_replaced
from hyperspec.cubes.files import BAND_SUFFIXES, band_files, check_data_file
from hyperspec.cubes.gains import Gains
from hyperspec.cubes.raster import RasterReader
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import AxisError, CubeError

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
            "gains": [None if r.gains is None else str(r.gains) for r in readers],
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
        self.gains = _gains_of(readers)

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


def _gains_of(readers: Sequence[RasterReader]) -> Gains | None:
    found = [reader.gains for reader in readers if reader.gains is not None]
    if not found:
        return None
    gain, offset = (np.concatenate([getattr(g, key) for g in found]) for key in ("gain", "offset"))
    return Gains(gain, offset, found[0].quantity)


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
        axes: list[SpectralAxis | AxisError] = []
        for path in files:
            opened.append(RasterReader(path, check_data_file(path)))
            axes.append(_own_axis(opened[-1], path))
            if len(files) > _KEPT_OPEN:
                opened[-1].close()
        order, own = _order(files, axes, axis)
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
        gains=reader.gains,
        metadata=metadata,
    )


def _order(
    files: Sequence[Path],
    axes: Sequence[SpectralAxis | AxisError],
    axis: SpectralAxis | None,
) -> tuple[list[int], SpectralAxis | None]:
    """Return the order of the files and their own axis, None where they have none."""
    known = [item for item in axes if not isinstance(item, AxisError)]
    if len(known) < len(files):
        if axis is None:
            raise next(item for item in axes if isinstance(item, AxisError))
        return list(range(len(files))), None
    order = sorted(range(len(files)), key=lambda i: known[i].wavelengths_nm[0])
    own = _joined([known[i] for i in order])
    if axis is not None and len(np.unique(own.wavelengths_nm)) < len(own):
        return list(range(len(files))), None  # the number in the names is no band's wavelength
    _check_unique(own, [files[i] for i in order for _ in range(len(known[i]))])
    return order, own


def _joined(axes: Sequence[SpectralAxis]) -> SpectralAxis:
    widths = [axis.fwhm_nm for axis in axes if axis.fwhm_nm is not None]
    return SpectralAxis(
        np.concatenate([axis.wavelengths_nm for axis in axes]),
        np.concatenate(widths) if len(widths) == len(axes) else None,
        np.concatenate([axis.good for axis in axes]),
    )


def _own_axis(reader: RasterReader, path: Path) -> SpectralAxis | AxisError:
    """Return the axis of a file's bands, or the error that tells why it has none."""
    try:
        return reader.axis()
    except AxisError as error:
        found = _NM_IN_NAME.findall(path.stem)
        if reader.shape[0] == 1 and len(found) == 1:
            return SpectralAxis(np.array([float(found[0])]))
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
