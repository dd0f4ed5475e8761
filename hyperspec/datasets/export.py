"""Stores to formats that other programs read: ENVI BSQ files and Zarr v3.

An export holds the prepared images as they are trained on, their masks, wavelengths and labels;
nothing in it needs this package. An ENVI export is a folder of cubes like any other.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.records import OWN_COLUMNS
from hyperspec.datasets.store.packed import Store
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.atomic import replacing
from hyperspec.utils.errors import CatalogueError, ConfigError, HyperspecError
from hyperspec.utils.file_names import as_file_name, distinct
from hyperspec.utils.progress import counted

if TYPE_CHECKING:
    import pandas as pd
    import zarr

Format = Literal["envi", "zarr"]


def export_store(store: Store, out: Path | str, format: Format) -> Path:  # noqa: A002
    """Write all images of a store, under a temporary name first.

    Args:
        store: An open store.
        out: Folder to make; an existing one must be empty.
        format: ``envi`` (one float32 BSQ file with header and mask image per specimen image, and
            ``labels.csv``) or ``zarr`` (one Zarr v3 group).

    Returns:
        The folder.

    Raises:
        ConfigError: If the format is unknown or its package is missing.
        CatalogueError: If the folder is there already, or cannot be written.
    """
    if format not in ("envi", "zarr"):
        raise ConfigError(f"format is {format!r}; choose envi or zarr.")
    if format == "zarr":
        require_zarr()
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CatalogueError(f"{target} exists already; name a new folder, or delete it first.")
    write = write_zarr_export if format == "zarr" else write_envi_export
    try:
        with replacing(target) as part:
            part.mkdir()
            write(store, part)
    except HyperspecError:
        raise
    except (OSError, ValueError) as error:  # Zarr refuses some names of columns
        raise CatalogueError(f"The export {target} cannot be written: {error}.") from error
    return target


def columns_of(table: pd.DataFrame) -> Mapping[str, list[str | int | None]]:
    """Return a store's table as plain lists, None where a value is missing."""
    plain = table.astype(object).where(table.notna(), None)
    return {str(name): plain[name].tolist() for name in plain.columns}


EXPORT_FILE = "export.json"
EXPORT_VERSION = 1


def write_envi_export(store: Store, folder: Path) -> None:
    """Write every image of a store below a folder.

    ENVI has no float16, so values become float32, which holds each of them exactly.
    """
    from matplotlib.image import imsave

    columns = columns_of(store.table)
    names = _names(columns["file"])
    for row, name in enumerate(counted("Writing images", names, len(names))):
        path = folder / name
        image = np.asarray(store.image(row), np.float32)
        source = re.sub(r"[{}\r\n]", "", str(columns["file"][row]))
        extra = {"description": f"{{prepared by hyperspec from {source}}}"}
        write_envi(path, image, store.axis, interleave="bsq", extra=extra)
        mask = np.repeat(store.masks([row])[0][:, :, None], 3, axis=2).astype(np.uint8) * 255
        imsave(path.with_name(f"{path.stem}_mask.png"), mask)
    content = {
        "version": EXPORT_VERSION,
        "source_hash": store.hash,
        "size": store.size,
        "dtype": str(store.dtype),
        "axis": store.axis.to_dict(),
        "files": names,
        "table": dict(columns),
    }
    _write_labels(folder / "labels.csv", names, columns)
    (folder / EXPORT_FILE).write_text(json.dumps(content))


def _names(files: Sequence[object]) -> list[str]:
    """Return a file name per image; a second ``a.*`` keeps its extension as part of the name.

    Raises:
        CatalogueError: If one would be written to another place than below the export's folder,
            or two to the same.
    """
    for file in files:
        path = PurePosixPath(str(file))
        if "\0" in str(file) or path.is_absolute() or not path.name or ".." in path.parts:
            raise CatalogueError(
                f"The store's table names an image {str(file)!r}, which leads out of the export's "
                "folder. No pack writes such a name: pack the cubes' folder yourself."
            )
    names = ["/".join(map(as_file_name, PurePosixPath(str(file)).parts)) for file in files]
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    found = [
        f"{stem if stems.count(stem) == 1 else name}.bsq"
        for stem, name in zip(stems, names, strict=True)
    ]
    if len(set(found)) < len(found):  # a.bil.raw beside a.bil and a.bip
        found = [f"{name}.bsq" for name in names]
    if len(set(found)) < len(found):
        raise CatalogueError("The store's table names an image twice. Pack its folder again.")
    return distinct(found)


def _write_labels(
    path: Path, names: Sequence[str], columns: Mapping[str, Sequence[str | int | None]]
) -> None:
    """Write a CSV that ``CsvLabels`` reads, specimen keys included."""
    own = [name for name in columns if name not in OWN_COLUMNS]
    if any(columns["label"]) and not any(columns[name] == columns["label"] for name in own):
        own.insert(0, "label")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *own, "specimen", "view", "date"])
        for row, name in enumerate(names):
            label = columns["label"][row]
            specimen = str(columns["specimen"][row]).removeprefix(f"{label}/")
            rest = (columns["view"][row], columns["date"][row])
            writer.writerow([name, *(columns[key][row] for key in own), specimen, *rest])


DIMENSIONS = ("image", "wavelength", "y", "x")
_RESERVED = frozenset({*DIMENSIONS, "reflectance", "stored_value", "mask", "fwhm", "good"})
_LOOKED_AT = 4  # images whose values say whether they are reflectance
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

    ``reflectance`` (image, wavelength, y, x) in the store's type, or ``stored_value`` where the
    first images are not calibrated, ``mask`` (image, y, x), the
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
    quantity = store.statistics(range(min(len(store), _LOOKED_AT))).quantity
    images = group.create_array(
        quantity.replace(" ", "_"),
        shape=(len(store), bands, size, size),
        chunks=(1, min(bands, _CHUNK_BANDS), size, size),
        dtype=store.dtype,
        dimension_names=DIMENSIONS,
        # The word by which CF conventions, and so xarray, know coordinates of other dimensions.
        attributes={
            "coordinates": " ".join([*named, "good"]),
            "long_name": f"{quantity}, 0 outside the mask",
        },
    )
    masks = group.create_array(
        "mask",
        shape=(len(store), size, size),
        chunks=(1, size, size),
        dtype=bool,
        dimension_names=("image", "y", "x"),
    )
    for row in counted("Writing images", range(len(store)), len(store)):
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
