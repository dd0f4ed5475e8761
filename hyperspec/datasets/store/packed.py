"""The packed store: every specimen prepared once, read by each run at its own bands.

A store is an index (``stores/<hash>/``: JSON, Parquet table, masks) over shards, one per cube,
that all stores of a cache folder share (``shards/``). Shards make packing incremental (ten new
cubes: ten new shards), resumable after a kill (what is there is kept) and atomic, each by a
rename, and no file is ever changed. Specimen-major for the same reason: one array
``(C, N, S, S)`` would have to be written anew for each new cube.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.checksums import combined
from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.store.shards import Shards, read_details, runs, write_atomic
from hyperspec.datasets.store.source import PreparedSource, check_rows, gather
from hyperspec.datasets.store.store_index import (
    INDEX,
    MASKS,
    TABLE,
    WITHOUT_SUMS,
    StoreIndex,
    damaged,
    read_index,
    write_index,
)
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.cores import usable_cores
from hyperspec.utils.errors import CatalogueError, HyperspecError
from hyperspec.utils.foreign_paths import inside
from hyperspec.utils.memory_share import share_memory
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    import pandas as pd

_LOG = logging.getLogger(__name__)

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

    Made by :func:`hyperspec.datasets.store.packed.pack`, opened by :meth:`open`.
    """

    def __init__(self, folder: Path, index: StoreIndex) -> None:
        self.folder = folder
        self._index = index
        self._keys = index.keys
        self.settings = index.settings
        super().__init__(index.axis, self.settings.size, self.settings.dtype)
        self.calibration = index.calibration
        self.doubts = index.doubts
        """What of the calibration should be looked at."""
        self.hash: str = index.hash
        """Sixteen hex digits of data, labels and preparation; the same as without a store."""
        self.shards = shards_of(folder.parent.parent, len(index.axis), self.settings)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> Store:
        """Open a store after checking that all of it is there, and what is small is intact.

        Args:
            folder: ``<cache_dir>/stores/<hash>``.
            verify: Also read every plane and compare checksums.

        Raises:
            CatalogueError: If a file is missing, damaged, of the wrong size or a link to another
                place; the message names it.
        """
        store = cls(folder, read_index(folder, verify=verify))
        store._check(verify)
        return store

    @property
    def table(self) -> pd.DataFrame:
        """One row per image, in the order of the catalogue."""
        return self._index.table

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
            with ThreadPoolExecutor(min(_READ_THREADS, usable_cores())) as pool:
                list(pool.map(self.shards.read_planes, keys, repeat(bands), target))
        else:
            for key, image in zip(keys, target, strict=True):
                self.shards.read_planes(key, bands, image)

    def _masks(self, rows: list[int]) -> NDArray[np.bool_]:
        """Return masks; all in their order are no copy, since each job keeps those: half a GB."""
        masks = self._index.masks
        return masks if rows == list(range(len(masks))) else masks[rows]

    def _statistics(self, rows: list[int], classes: list[str | None]) -> SpectralStatistics:
        """Merge; the result for more than a few images is kept beside the store."""
        if len(rows) <= _TOO_FEW_TO_KEEP:
            return gather(lambda row: self.shards.statistics(self._keys[row]), rows, classes)
        name = combined([[self._keys[row] for row in rows], classes], 32)
        cached = inside(self.folder, f"statistics/{name}.npz")
        kept = None if cached is None else self._kept_statistics(cached)
        if kept is not None:
            return kept
        result = gather(lambda row: self.shards.statistics(self._keys[row]), rows, classes)
        arrays = result.to_arrays()
        if cached is None:  # a link leads out of the store
            return result
        try:
            write_atomic(cached, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
        except OSError as error:
            # A full disk or another user's cache: they are gathered again next time.
            _LOG.warning("The statistics are not kept in %s: %s", cached.parent, error)
        return result

    def _kept_statistics(self, cached: Path) -> SpectralStatistics | None:
        """Return what was gathered before, None where that is not there or damaged."""
        if not cached.is_file():
            return None
        try:
            kept = read_details(cached, SpectralStatistics.from_arrays)
            if kept.axis == self.axis:
                return kept
            reason = "it has another axis"
        except CatalogueError as error:
            reason = str(error.__cause__)
        _LOG.warning("The statistics in %s are damaged (%s); gathered again.", cached, reason)
        return None

    def check_belongs(self, preparer: Preparer, verify: bool) -> None:
        """Refuse a store of other images; with ``verify`` also one of 0.1.0 with other labels.

        Raises:
            CatalogueError: If it is not the one that a preparer would make.
        """
        if self.hash != preparer.hash:
            raise damaged(self.folder / INDEX, f"is that of the store {self.hash}")
        if verify and self._index.version == WITHOUT_SUMS:
            made = preparer.catalogue.table()
            if not self.table.astype(object).fillna("").equals(made.astype(object).fillna("")):
                raise damaged(self.folder / TABLE, "does not say what the folder says")

    def _check(self, verify: bool) -> None:
        if verify and self._index.version == WITHOUT_SUMS:
            self._compare_masks()

        def look(key: str) -> str | None:
            problem = self.shards.problem(key)
            if problem is None and verify and not self.shards.is_intact(key):
                return f"{self.shards.planes_path(key)} or its .npz does not match its checksum"
            return problem

        with ThreadPoolExecutor(usable_cores()) as pool:
            problem = next(filter(None, pool.map(look, self._keys)), None)
        if problem is not None:
            raise CatalogueError(
                f"The store {self.folder} is incomplete: {problem}. Pack the folder again "
                "(hyperspec pack, or data.store=auto): only what is missing is made."
            )

    def _compare_masks(self) -> None:
        """Compare the masks with those of the shards, where they have no sum of their own."""
        for row, key in enumerate(self._keys):
            if not np.array_equal(self._index.masks[row], self.shards.mask(key)):
                raise damaged(self.folder / MASKS, f"has another mask of image {row} than {key}")


def _threads_pay(image: NDArray[np.floating], count: int, bands: Sequence[int]) -> bool:
    piece = image.nbytes // len(runs(bands))
    return count * image.nbytes >= _THREADS_FROM_BYTES and piece >= _THREADS_FROM_PIECE


def shards_of(cache_dir: Path, num_bands: int, settings: PrepareSettings) -> Shards:
    """Return the shards of a cache folder for one kind of image."""
    shape = (num_bands, settings.size, settings.size)
    return Shards(cache_dir / "shards", shape, np.dtype(settings.dtype))


# Kept free on the disk beyond what the pack needs: logs and checkpoints are written there too.
_SPARE_BYTES = 64 * 2**20


def pack(
    catalogue: Catalogue,
    settings: PrepareSettings,
    cache_dir: Path | str,
    *,
    num_threads: int | None = None,
    verify: bool = False,
) -> Store:
    """Return the store of a catalogue, preparing the cubes that no earlier pack prepared.

    Several processes may ask at once: one packs, the others wait and use its work.

    Args:
        catalogue: The cubes.
        settings: How they are prepared.
        cache_dir: Folder of all stores; made when it does not exist. The cubes' own folder is only
            read.
        num_threads: Cubes prepared at once; by default as many as there are cores. Each holds one
            cube in memory as float32, twice for a moment; where memory does not suffice there are
            fewer, and a cube that is larger than the memory is read by parts.
        verify: Read every packed plane and compare it with its checksum; what is damaged is packed
            again. Sizes are compared in any case.

    Raises:
        CatalogueError: If cubes cannot be prepared (the others are, and are kept), or the disk has
            too little room.
    """
    from filelock import FileLock, Timeout

    wanted = num_threads or usable_cores()
    threads, cube_bytes = share_memory([record.shape for record in catalogue.records], wanted)
    preparer = Preparer(catalogue, settings, cube_bytes)
    cache = Path(cache_dir).resolve()
    folder = cache / "stores" / preparer.hash
    ready = _ready(folder, preparer, verify, logging.DEBUG)  # damage is told once, by who mends it
    if ready is not None:
        return ready
    # One lock per cache folder, since stores share shards.
    lock = FileLock(cache / "pack.lock")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            _LOG.info("Another process is packing into %s; waiting for it.", cache)
            lock.acquire()
        # Waiting for the lock may have meant waiting for this very store.
        ready = _ready(folder, preparer, verify, logging.WARNING)
        return ready or _build(preparer, cache, threads, verify)
    except OSError as error:
        raise CatalogueError(
            f"Packing into {cache} stopped: {error}. What was prepared is kept; make room or "
            "choose another data.cache_dir, and start again."
        ) from error
    finally:
        lock.release()


def _ready(folder: Path, preparer: Preparer, verify: bool, level: int) -> Store | None:
    """Open a store that is there, and say again what was said when it was packed.

    ``level`` is that at which damage is logged.
    """
    store = _try_open(folder, preparer, verify, level)
    if store is not None:
        store.calibration = store.calibration or tuple(preparer.calibrator.lines())
        known = {str(problem) for problem in preparer.calibrator.told}
        for text in store.doubts:
            if text not in known:
                _LOG.warning("%s", text)
    return store


def _try_open(folder: Path, preparer: Preparer, verify: bool, level: int) -> Store | None:
    if not folder.is_dir():
        return None
    try:
        store = Store.open(folder, verify=verify)
        store.check_belongs(preparer, verify)
        return store
    except CatalogueError as error:
        _LOG.log(level, "%s It is mended now.", error)
        return None


def _build(preparer: Preparer, cache: Path, num_threads: int, verify: bool) -> Store:
    folder = cache / "stores" / preparer.hash
    catalogue = preparer.catalogue
    shards = shards_of(cache, len(catalogue.axis), preparer.settings)
    shards.remove_leftovers()
    keys = [preparer.key(record) for record in catalogue.records]
    # A dictionary: two files of the same content share a shard.
    records = dict(zip(keys, catalogue.records, strict=True))
    looked = {key: _mask_of(shards, key, verify) for key in records}
    masks = {key: mask for key, mask in looked.items() if mask is not None}
    missing = {key: record for key, record in records.items() if key not in masks}
    _check_room(cache, shards, len(missing))
    _prepare_all(preparer, shards, missing, num_threads)
    masks |= {key: shards.mask(key) for key in missing}
    write_index(folder, preparer, keys, np.stack([masks[key] for key in keys]))
    return Store.open(folder)


def _mask_of(shards: Shards, key: str, verify: bool) -> NDArray[np.bool_] | None:
    """Return the mask of a shard; None where the shard is missing or damaged."""
    if shards.problem(key) is not None or (verify and not shards.is_intact(key)):
        return None
    try:
        return shards.mask(key)
    except CatalogueError as error:
        _LOG.warning("%s It is made anew.", error)
        return None


def _prepare_all(
    preparer: Preparer, shards: Shards, missing: dict[str, CubeRecord], num_threads: int
) -> None:
    from threadpoolctl import threadpool_limits

    failures: list[str] = []
    trays: list[tuple[str, int]] = []

    def prepare_one(item: tuple[str, CubeRecord]) -> None:
        key, record = item
        try:
            prepared = preparer.prepare(record)
            shards.write(key, prepared)
        except HyperspecError as error:
            failures.append(str(error))
        else:
            if prepared.num_parts > 1:
                trays.append((record.file, prepared.num_parts))

    # One thread per cube: matrix products with threads of their own fight these for the cores
    # (measured on two cores: three times the processor time).
    limit = threadpool_limits(1 if num_threads > 1 else None, user_api="blas")
    with (
        limit,
        ThreadPoolExecutor(num_threads) as pool,
        progress("Preparing cubes", len(missing)) as advance,
    ):
        # Not map: after a failed write (disk full) what has not begun must not begin.
        jobs = [pool.submit(prepare_one, item) for item in missing.items()]
        try:
            for job in jobs:
                job.result()
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if trays:
        file, count = min(trays)
        _LOG.warning(
            "%d of %d cubes hold several parts apart from each other (%s: %d), and each is taken "
            "for one specimen. `hyperspec check %s` lists them; where they are several specimens, "
            "`hyperspec cut` makes a cube of each.",
            *(len(trays), len(missing), file, count, preparer.catalogue.root),
        )
    if failures:
        more = f" And {len(failures) - 5} more." if len(failures) > 5 else ""
        raise CatalogueError(
            f"{len(failures)} of {len(missing)} cubes could not be prepared: "
            f"{' '.join(sorted(failures)[:5])}{more} Mend them or take them out of the folder; the "
            "others are kept as prepared."
        )


def _check_room(cache: Path, shards: Shards, count: int) -> None:
    needed = count * shards.shard_bytes + _SPARE_BYTES
    free = shutil.disk_usage(cache).free
    if count and needed > free:
        raise CatalogueError(
            f"Packing {count} cubes needs about {needed / 1e9:.2f} GB in {cache}, which has "
            f"{free / 1e9:.2f} GB free. Make room, choose another data.cache_dir, a smaller "
            "data.size, or data.store=none."
        )
