"""An export as one Zarr v3 group that opens in xarray, wavelengths as a coordinate."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.envi.wavelengths import to_nanometres
from hyperspec.datasets.export.images import Images, columns_of
from hyperspec.datasets.store.packed import Store
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError, ConfigError

if TYPE_CHECKING:
    import zarr

DIMENSIONS = ("image", "wavelength", "y", "x")
_RESERVED = frozenset({*DIMENSIONS, "reflectance", "mask", "fwhm", "good"})
# Bands per chunk: at 64 x 64 float16 half a megabyte.
_CHUNK_BANDS = 64


def require_zarr() -> ModuleType:
    """Return the package.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise ConfigError(
            "Zarr exports need the package zarr, which is not installed: "
            "pip install 'hyperspec-sweeps[zarr]'. --format envi needs nothing."
        ) from error
    return zarr


def write_zarr_export(store: Store, folder: Path) -> None:
    """Write every image of a store into one group.

    ``reflectance`` (image, wavelength, y, x) in the store's type, ``mask`` (image, y, x), the
    coordinate ``wavelength`` in nm, ``good`` and ``fwhm`` per band, and a coordinate per column
    of the table; an empty text stands for a missing value.
    """
    zarr = require_zarr()
    columns = columns_of(store.table)
    named = {f"label_{n}" if n in _RESERVED else n: values for n, values in columns.items()}
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    group.attrs["title"] = "Specimen images prepared by hyperspec"
    group.attrs["source_hash"] = store.hash
    bands, size = len(store.axis), store.size
    images = group.create_array(
        "reflectance",
        shape=(len(store), bands, size, size),
        chunks=(1, min(bands, _CHUNK_BANDS), size, size),
        dtype=store.dtype,
        dimension_names=DIMENSIONS,
        # The word by which CF conventions, and so xarray, know coordinates of other dimensions.
        attributes={
            "coordinates": " ".join([*named, "good"]),
            "long_name": "reflectance, 0 outside the mask",
        },
    )
    masks = group.create_array(
        "mask",
        shape=(len(store), size, size),
        chunks=(1, size, size),
        dtype=bool,
        dimension_names=("image", "y", "x"),
    )
    for row in range(len(store)):
        images[row] = store.image(row)
        masks[row] = store.masks([row])[0]
    _write_axis(group, store.axis)
    for name, values in named.items():
        _write_column(group, name, values)
    group.attrs["columns"] = dict(zip(named, columns, strict=True))


def read_zarr_export(folder: Path) -> Images:
    """Open a Zarr group with the layout of :func:`write_zarr_export`.

    Groups of other programs do as well: only ``reflectance`` and ``wavelength`` are needed.

    Raises:
        CatalogueError: If an array is missing or has another shape.
        ConfigError: If the package is not installed.
    """
    import pandas as pd

    zarr = require_zarr()
    group = zarr.open_group(folder, mode="r")
    arrays = dict(group.arrays())
    for name in ("reflectance", "wavelength"):
        if name not in arrays:
            raise CatalogueError(
                f"The Zarr group {folder} has no array {name!r}, only "
                f"{', '.join(sorted(arrays)) or 'none'}; it needs reflectance (image, wavelength, "
                "y, x) and wavelength in nm."
            )
    reflectance = arrays["reflectance"]
    shape = reflectance.shape
    if len(shape) != 4 or shape[2] != shape[3]:
        raise CatalogueError(
            f"reflectance in {folder} has shape {shape}; (image, wavelength, y, x) with square "
            "images is needed."
        )
    axis = _read_axis(arrays, folder)
    if len(axis) != shape[1]:
        raise CatalogueError(
            f"{folder} has {len(axis)} wavelengths for {shape[1]} bands of reflectance."
        )
    table = pd.DataFrame(_read_columns(group, arrays, shape[0]))
    masks = arrays.get("mask")

    def read(row: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        image = np.asarray(reflectance[row], np.float32)
        full = np.ones(image.shape[1:], np.bool_)
        return image, full if masks is None else np.asarray(masks[row], np.bool_)

    dtype = "float16" if reflectance.dtype == np.float16 else "float32"
    return Images(axis, int(shape[2]), dtype, table, read)


def _write_axis(group: zarr.Group, axis: SpectralAxis) -> None:
    parts: list[tuple[str, NDArray[Any], dict[str, Any]]] = [
        ("wavelength", axis.wavelengths_nm, {"units": "nm", "long_name": "band centre"}),
        ("good", axis.good, {"long_name": "usable band"}),
    ]
    if axis.fwhm_nm is not None:
        parts.append(("fwhm", axis.fwhm_nm, {"units": "nm", "long_name": "band width"}))
    for name, values, attributes in parts:
        group.create_array(
            name, data=values.copy(), dimension_names=("wavelength",), attributes=attributes
        )


def _write_column(group: zarr.Group, name: str, values: list[str | int | None]) -> None:
    numbers = [value for value in values if isinstance(value, int)]
    if len(numbers) == len(values):
        group.create_array(name, data=np.array(numbers, np.int64), dimension_names=("image",))
        return
    texts = np.array(["" if value is None else str(value) for value in values], dtype=object)
    column = group.create_array(name, shape=(len(values),), dtype=str, dimension_names=("image",))
    column[:] = texts


def _read_axis(arrays: dict[str, Any], folder: Path) -> SpectralAxis:
    wavelength = arrays["wavelength"]
    values = [float(value) for value in np.ravel(wavelength[:])]
    centres = to_nanometres(values, str(wavelength.attrs.get("units", "")), f"{folder}/wavelength")
    good = (
        np.asarray(arrays["good"][:], np.bool_) if "good" in arrays else np.ones(len(centres), bool)
    )
    fwhm = np.asarray(arrays["fwhm"][:], np.float64) if "fwhm" in arrays else None
    return SpectralAxis(centres, fwhm, good)


def _read_columns(
    group: zarr.Group, arrays: dict[str, Any], count: int
) -> dict[str, list[str | int | None]]:
    """Return the table's columns; file and specimen are numbered where there are none."""
    original = group.attrs.get("columns")
    known = original if isinstance(original, dict) else {}
    names = list(known) or sorted(arrays)
    columns: dict[str, list[str | int | None]] = {}
    for name in names:
        array = arrays.get(name)
        if array is None or array.shape != (count,) or name in _RESERVED:
            continue
        values = np.asarray(array[:]).tolist()
        plain = [value if isinstance(value, int) else str(value) or None for value in values]
        columns[str(known.get(name, name))] = plain
    columns.setdefault("file", [f"image_{row:05}" for row in range(count)])
    columns.setdefault("specimen", list(columns["file"]))
    for name in ("label", "view", "date"):
        columns.setdefault(name, [None] * count)
    return columns
