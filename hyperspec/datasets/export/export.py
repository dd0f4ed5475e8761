"""Stores to formats that other programs read: ENVI BSQ files and Zarr v3.

An export holds the prepared images as they are trained on, their masks, wavelengths and labels;
nothing in it needs this package. An ENVI export is a folder of cubes like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hyperspec.datasets.store.packed import Store
from hyperspec.utils.atomic import replacing
from hyperspec.utils.errors import CatalogueError, ConfigError

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
    from hyperspec.datasets.export.envi import write_envi_export
    from hyperspec.datasets.export.zarr import require_zarr, write_zarr_export

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
    except OSError as error:
        raise CatalogueError(f"The export {target} cannot be written: {error}.") from error
    return target
