"""Stores to and from formats that other programs read: ENVI BSQ files and Zarr v3.

An export holds the prepared images as they are trained on, their masks, wavelengths and labels;
nothing in it needs this package. Packing one gives the same planes back to the last bit. The
statistics of a store that was packed from an export are those of the exported pixels, since the
cubes' own resolution is not in it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hyperspec.datasets.catalogue.checksums import combined
from hyperspec.datasets.preparation.prepare import Prepared, check_range
from hyperspec.datasets.preparation.settings import PrepareSettings
from hyperspec.datasets.store.packed import Store, shards_of, write_index
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import CatalogueError, ConfigError, CubeError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    pass
from hyperspec.datasets.export.images import Images, _plain

Format = Literal["envi", "zarr"]
# Part of every key of an imported image.
IMPORT_VERSION = 1


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
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    write = write_zarr_export if format == "zarr" else write_envi_export
    try:
        part.mkdir(parents=True)
        write(store, part)
        if target.exists():
            target.rmdir()
        part.replace(target)
    except OSError as error:
        raise CatalogueError(f"The export {target} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def is_export(folder: Path | str) -> bool:
    """Tell whether a folder is an export rather than a folder of raw cubes."""
    from hyperspec.datasets.export.envi import EXPORT_FILE

    return any((Path(folder) / name).is_file() for name in (EXPORT_FILE, "zarr.json", ".zgroup"))


def open_export(folder: Path | str) -> Images:
    """Open an export of either format.

    Raises:
        CatalogueError: If it is none, or incomplete.
    """
    from hyperspec.datasets.export.envi import EXPORT_FILE, read_envi_export
    from hyperspec.datasets.export.zarr import read_zarr_export

    path = Path(folder)
    if not is_export(path):
        raise CatalogueError(
            f"{path} is no export: it has neither {EXPORT_FILE} nor zarr.json. Raw cubes are "
            "packed by scanning the folder."
        )
    return read_envi_export(path) if (path / EXPORT_FILE).is_file() else read_zarr_export(path)


def pack_export(
    folder: Path | str, cache_dir: Path | str, *, num_threads: int | None = None
) -> Store:
    """Return the store of an export, writing what no earlier pack wrote.

    Args:
        folder: An export.
        cache_dir: Folder of all stores.
        num_threads: Images read at once; by default as many as there are cores.

    Raises:
        CatalogueError: If the export is incomplete, or the cache cannot be written.
    """
    from filelock import FileLock

    images = open_export(folder)
    settings = PrepareSettings(
        size=images.size,
        calibrate="none",
        mask="image",
        crop_margin=0.0,
        dtype="float32" if images.dtype == "float32" else "float16",
    )
    cache = Path(cache_dir).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(cache / "pack.lock"):
            return _write_store(images, settings, cache, num_threads or os.cpu_count() or 1)
    except OSError as error:
        raise CatalogueError(
            f"Packing {folder} into {cache} stopped: {error}. Make room or choose another "
            "data.cache_dir, and start again."
        ) from error


def _write_store(images: Images, settings: PrepareSettings, cache: Path, num_threads: int) -> Store:
    shards = shards_of(cache, len(images.axis), settings)
    count = len(images.table)
    with (
        progress("Reading images", count) as advance,
        ThreadPoolExecutor(num_threads) as pool,
    ):

        def take(row: int) -> tuple[str, NDArray[np.bool_]]:
            image, mask = _cleaned(*images.read(row), images, row)
            stored = image.astype(settings.dtype)
            digest = hashlib.blake2b(stored.tobytes() + mask.tobytes(), digest_size=16).hexdigest()
            parts = (IMPORT_VERSION, "import", digest, images.axis.hash, asdict(settings))
            key = combined(parts, 32)
            if shards.problem(key) is not None:
                statistics = SpectralStatistics.from_spectra(image[:, mask].T, images.axis)
                shards.write(key, Prepared(image, mask, statistics))
            advance()
            return key, mask

        found = list(pool.map(take, range(count)))
    keys = [key for key, _ in found]
    rows = [[_plain(v) for v in row] for row in images.table.itertuples(index=False)]
    data_hash = combined([IMPORT_VERSION, keys, list(images.table), rows, images.axis.hash], 16)
    folder = cache / "stores" / data_hash
    if not (folder / "store.json").is_file():
        write_index(
            folder,
            keys=keys,
            axis=images.axis,
            settings=settings,
            data_hash=data_hash,
            table=images.table,
            masks=np.stack([mask for _, mask in found]),
        )
    return Store.open(folder)


def _cleaned(
    image: NDArray[np.float32], mask: NDArray[np.bool_], images: Images, row: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Take pixels without a value out of the mask, and set the background to 0."""
    name = str(images.table["file"].iloc[row])
    shape = (len(images.axis), images.size, images.size)
    if image.shape != shape or mask.shape != shape[1:]:
        raise CubeError(
            f"{name}: image {image.shape} and mask {mask.shape} do not fit the export's "
            f"{shape}. Export it again."
        )
    mask = mask & np.isfinite(image[images.axis.good_indices]).all(axis=0)
    if not mask.any():
        raise CubeError(f"{name}: its mask holds no pixel with values in all good bands.")
    image = np.where(np.isfinite(image) & mask, image, np.float32(0))
    check_range(image, np.dtype(images.dtype), Path(name))
    return image, mask
