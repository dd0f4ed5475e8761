"""Packing a catalogue: prepare what is missing, in threads, once for all jobs."""

from __future__ import annotations

import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.store.packed import Store, shards_of, write_index
from hyperspec.datasets.store.shards import Shards
from hyperspec.utils.errors import CatalogueError, HyperspecError
from hyperspec.utils.progress import progress

_LOG = logging.getLogger(__name__)

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
            cube in memory as float32.
        verify: Read every packed plane and compare it with its checksum; what is damaged is packed
            again. Sizes are compared in any case.

    Raises:
        CatalogueError: If cubes cannot be prepared (the others are, and are kept), or the disk has
            too little room.
    """
    from filelock import FileLock, Timeout

    preparer = Preparer(catalogue, settings)
    cache = Path(cache_dir).resolve()
    folder = cache / "stores" / preparer.hash
    ready = _try_open(folder, verify)
    if ready is not None:
        return ready
    cache.mkdir(parents=True, exist_ok=True)
    # One lock per cache folder, since stores share shards.
    lock = FileLock(cache / "pack.lock")
    try:
        lock.acquire(timeout=1)
    except Timeout:
        _LOG.info("Another process is packing into %s; waiting for it.", cache)
        lock.acquire()
    try:
        # Waiting for the lock may have meant waiting for this very store.
        return _try_open(folder, verify) or _build(preparer, cache, num_threads, verify)
    except OSError as error:
        raise CatalogueError(
            f"Packing into {cache} stopped: {error}. What was prepared is kept; make room or "
            "choose another data.cache_dir, and start again."
        ) from error
    finally:
        lock.release()


def _try_open(folder: Path, verify: bool) -> Store | None:
    if not folder.is_dir():
        return None
    try:
        return Store.open(folder, verify=verify)
    except CatalogueError as error:
        _LOG.warning("%s It is mended now.", error)
        return None


def _build(preparer: Preparer, cache: Path, num_threads: int | None, verify: bool) -> Store:
    folder = cache / "stores" / preparer.hash
    catalogue = preparer.catalogue
    shards = shards_of(cache, len(catalogue.axis), preparer.settings)
    shards.remove_leftovers()
    keys = [preparer.key(record) for record in catalogue.records]
    # A dictionary: two files of the same content share a shard.
    missing = {
        key: record
        for key, record in zip(keys, catalogue.records, strict=True)
        if shards.problem(key) is not None or (verify and not shards.is_intact(key))
    }
    _check_room(cache, shards, len(missing))
    _prepare_all(preparer, shards, missing, num_threads or os.cpu_count() or 1)
    write_index(folder, preparer, keys, np.stack([shards.mask(key) for key in keys]))
    return Store.open(folder)


def _prepare_all(
    preparer: Preparer, shards: Shards, missing: dict[str, CubeRecord], num_threads: int
) -> None:
    from threadpoolctl import threadpool_limits

    failures: list[str] = []

    def prepare_one(item: tuple[str, CubeRecord]) -> None:
        key, record = item
        try:
            shards.write(key, preparer.prepare(record))
        except HyperspecError as error:
            failures.append(str(error))

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
