"""An export as one Zarr v3 group that opens in xarray, wavelengths as a coordinate."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.datasets.export.columns import columns_of
from hyperspec.datasets.store.packed import Store
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import ConfigError

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
