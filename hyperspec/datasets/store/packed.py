"""The packed store: every specimen prepared once, read by each run at its own bands.

A store is an index (``stores/<hash>/``: JSON, Parquet table, masks) over shards, one per cube,
that all stores of a cache folder share (``shards/``). Shards make packing incremental (ten new
cubes: ten new shards), resumable after a kill (what is there is kept) and atomic, each by a
rename, and no file is ever changed. Specimen-major for the same reason: one array
``(C, N, S, S)`` would have to be written anew for each new cube.
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.datasets.catalogue.checksums import combined
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.store.shards import Shards, runs, write_atomic
from hyperspec.datasets.store.source import PreparedSource, check_rows, gather
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import CatalogueError

if TYPE_CHECKING:
    import pandas as pd

_LOG = logging.getLogger(__name__)

STORE_VERSION = 1
_INDEX, _TABLE, _MASKS = "store.json", "table.parquet", "masks.npy"
# Reading a few images' own statistics costs no more than reading their sum: single specimens,
# which a bootstrap asks for one by one, leave no files behind.
_TOO_FEW_TO_KEEP = 4
# More threads than this gain nothing: copying from the page cache is bound by memory.
_READ_THREADS = 8
# Starting threads takes 0.2 ms, in which one thread copies a few megabytes; and threads that read
# small pieces wait for each other at the interpreter's lock (8 kB each: twice as long as one).
_THREADS_FROM_BYTES = 8 * 2**20
_THREADS_FROM_PIECE = 64 * 2**10


class Store(PreparedSource):
    """Packed specimen images; a :class:`hyperspec.datasets.store.source.SpecimenSource`.

    Made by :func:`hyperspec.datasets.store.pack.pack`, opened by :meth:`open`.
    """

    def __init__(self, folder: Path, index: dict[str, Any], table: pd.DataFrame) -> None:
        self.folder = folder
        self._table = table
        self._keys: list[str] = index["keys"]
        self.settings = PrepareSettings(**index["settings"])
        axis = SpectralAxis.from_dict(index["axis"])
        super().__init__(axis, self.settings.size, self.settings.dtype)
        self.hash: str = index["hash"]
        """Sixteen hex digits of data, labels and preparation; the same as without a store."""
        self.shards = shards_of(folder.parent.parent, len(axis), self.settings)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> Store:
        """Open a store after checking that all of it is there.

        Args:
            folder: ``<cache_dir>/stores/<hash>``.
            verify: Also read every plane and compare checksums.

        Raises:
            CatalogueError: If a file is missing, damaged or of the wrong size; the message names
                it.
        """
        import pandas as pd

        path = folder / _INDEX
        try:
            index = json.loads(path.read_text())
            content = index["content"]
            if index["checksum"] != combined([content]):
                raise _damaged(path, "does not match its own checksum")
            if content["version"] != STORE_VERSION:
                raise _damaged(path, f"has version {content['version']}, not {STORE_VERSION}")
            store = cls(folder, content, pd.read_parquet(folder / _TABLE))
        except (OSError, KeyError, TypeError) as error:
            raise _damaged(path, f"cannot be read ({error})") from error
        except ValueError as error:
            if isinstance(error, CatalogueError):
                raise
            raise _damaged(path, f"or the table beside it is no such file ({error})") from error
        store._check(verify)
        return store

    @property
    def table(self) -> pd.DataFrame:
        """One row per image, in the order of the catalogue."""
        return self._table

    @property
    def num_bytes(self) -> int:
        """Size of all band planes on disk."""
        return len(self) * self.shards.file_bytes

    def __len__(self) -> int:
        return len(self._keys)

    def image(self, row: int) -> NDArray[np.floating]:
        """Return one image as a read-only memory map ``(C, S, S)``."""
        return self.shards.map_planes(self._keys[check_rows([row], len(self))[0]])

    def _read_into(self, target: NDArray[np.floating], rows: list[int], bands: list[int]) -> None:
        keys = [self._keys[row] for row in rows]
        if len(keys) > 1 and _threads_pay(target[0], len(keys), bands):
            with ThreadPoolExecutor(min(_READ_THREADS, os.cpu_count() or 1)) as pool:
                list(pool.map(self.shards.read_planes, keys, repeat(bands), target))
        else:
            for key, image in zip(keys, target, strict=True):
                self.shards.read_planes(key, bands, image)

    def _masks(self, rows: list[int]) -> NDArray[np.bool_]:
        return self._all_masks[rows]

    def _statistics(self, rows: list[int], classes: list[str | None]) -> SpectralStatistics:
        """Merge; the result for more than a few images is kept beside the store."""
        if len(rows) <= _TOO_FEW_TO_KEEP:
            return gather(lambda row: self.shards.statistics(self._keys[row]), rows, classes)
        name = combined([[self._keys[row] for row in rows], classes], 32)
        cached = self.folder / "statistics" / f"{name}.npz"
        if zipfile.is_zipfile(cached):
            with np.load(cached) as arrays:
                return SpectralStatistics.from_arrays(arrays)
        result = gather(lambda row: self.shards.statistics(self._keys[row]), rows, classes)
        arrays = result.to_arrays()
        try:
            write_atomic(cached, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
        except OSError as error:
            # A full disk or another user's cache: they are gathered again next time.
            _LOG.warning("The statistics are not kept in %s: %s", cached.parent, error)
        return result

    @cached_property
    def _all_masks(self) -> NDArray[np.bool_]:
        path = self.folder / _MASKS
        try:
            masks: NDArray[np.bool_] = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(path, f"cannot be read ({error})") from error
        return masks

    def _check(self, verify: bool) -> None:
        if len(self._table) != len(self):
            raise _damaged(
                self.folder / _TABLE, f"has {len(self._table)} rows for {len(self)} images"
            )
        if self._all_masks.shape != (len(self), self.size, self.size):
            raise _damaged(self.folder / _MASKS, f"has shape {self._all_masks.shape}")

        def look(key: str) -> str | None:
            problem = self.shards.problem(key)
            if problem is None and verify and not self.shards.is_intact(key):
                return f"{self.shards.planes_path(key)} or its .npz does not match its checksum"
            return problem

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            problem = next(filter(None, pool.map(look, self._keys)), None)
        if problem is not None:
            raise CatalogueError(
                f"The store {self.folder} is incomplete: {problem}. Pack the folder again "
                "(hyperspec pack, or data.store=auto): only what is missing is made."
            )


def _threads_pay(image: NDArray[np.floating], count: int, bands: Sequence[int]) -> bool:
    piece = image.nbytes // len(runs(bands))
    return count * image.nbytes >= _THREADS_FROM_BYTES and piece >= _THREADS_FROM_PIECE


def shards_of(cache_dir: Path, num_bands: int, settings: PrepareSettings) -> Shards:
    """Return the shards of a cache folder for one kind of image."""
    shape = (num_bands, settings.size, settings.size)
    return Shards(cache_dir / "shards", shape, np.dtype(settings.dtype))


def write_index(
    folder: Path, preparer: Preparer, keys: Sequence[str], masks: NDArray[np.bool_]
) -> None:
    """Write a store's index; its JSON comes last and makes the store exist."""
    table = preparer.catalogue.table()
    content = {
        "version": STORE_VERSION,
        "hash": preparer.hash,
        "keys": list(keys),
        "axis": preparer.catalogue.axis.to_dict(),
        "settings": asdict(preparer.settings),
    }
    text = json.dumps({"content": content, "checksum": combined([content])})
    write_atomic(folder / _TABLE, lambda file: table.to_parquet(file, index=False))
    write_atomic(folder / _MASKS, lambda file: np.save(file, masks))
    write_atomic(folder / _INDEX, lambda file: file.write(text.encode()))


def _damaged(path: Path, what: str) -> CatalogueError:
    return CatalogueError(
        f"The store's file {path} {what}. Delete {path.parent} and pack the folder again; prepared "
        "images that are intact are used again."
    )
