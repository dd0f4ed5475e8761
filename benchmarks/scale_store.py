"""A packed store of ten thousand specimens that takes hardly any disk: what opening it costs.

Catalogue, index and one shard are written by the package; the planes of all other specimens are
sparse files of the size that the format gives them (they read as zeros), and their statistics links
to the one shard's. So what reads and sums statistics finds one file in the page cache again and
again, and batches are copied from memory: disks come on top.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from hyperspec.datasets.catalogue.records import Catalogue
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.splits import grouped_split
from hyperspec.datasets.store.packed import Store, shards_of
from hyperspec.datasets.store.store_index import write_index
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.training.data import column, label_columns

SIZE, BATCH, BANDS = 224, 64, 50
NUM_CLASSES = 50


def many(catalogue: Catalogue, count: int) -> Catalogue:
    """Return a catalogue of so many specimens, a cube each, that are copies of one in all else."""
    first = catalogue.records[0]
    records = tuple(
        replace(
            first,
            file=f"c{number:05d}.bil",
            path=first.path.with_name(f"c{number:05d}.bil"),
            label=f"species {number % NUM_CLASSES}",
            specimen=f"specimen {number}",
            checksum=f"{number:032x}",
        )
        for number in range(count)
    )
    return replace(catalogue, records=records)


def simulate(folder: Path, count: int) -> tuple[Path, Preparer]:
    """Write the store; return its folder."""
    synthesise(folder / "specimens", SynthSettings(num_specimens=1, size=64))
    catalogue, settings = scan(folder / "specimens"), PrepareSettings(size=SIZE)
    real = Preparer(catalogue, settings).prepare(catalogue.records[0])
    preparer = Preparer(many(catalogue, count), settings)
    shards = shards_of(folder, len(catalogue.axis), settings)
    keys = [preparer.key(record) for record in preparer.catalogue.records]
    shards.write(keys[0], real)
    header = shards.planes_path(keys[0]).read_bytes()[:128]
    for key in keys[1:]:
        os.link(shards.details_path(keys[0]), shards.details_path(key))
        with shards.planes_path(key).open("wb") as file:
            file.write(header)
            file.truncate(shards.file_bytes)
    store = folder / "stores" / preparer.hash
    write_index(store, preparer, keys, np.broadcast_to(real.mask, (count, SIZE, SIZE)))
    return store, preparer


def measure(folder: Path, count: int = 10_000) -> dict[str, Any]:
    """Open a simulated store, split it, gather its statistics, and read batches."""
    found: dict[str, Any] = {}

    def step(name: str, call: Callable[[], Any]) -> Any:
        before, clock, spent = private(), time.perf_counter(), time.process_time()
        result = call()
        found[name] = {
            "seconds": round(time.perf_counter() - clock, 2),
            "cpu_seconds": round(time.process_time() - spent, 2),
            "memory_mb": round((private() - before) / 1e6),
        }
        print(f"{name:32}", found[name], flush=True)
        return result

    path, preparer = step("write the simulated store", lambda: simulate(folder, count))
    step("hash of the catalogue", lambda: replace(preparer.catalogue).hash)
    store: Store = step("open", lambda: Store.open(path))
    labels, specimens = column(store, "label"), [str(one) for one in store.table["specimen"]]

    def split() -> Any:
        columns, files = label_columns(store), [str(name) for name in store.table["file"]]
        shares = (0.6, 0.2, 0.2)
        return grouped_split(
            labels, specimens, fractions=shares, seed=0, keys=files, columns=columns
        )

    parts = step("split", split)
    some = parts.train[:200].tolist()
    step("statistics of 200 images", lambda: store.statistics(some, [labels[i] for i in some]))
    bands = np.linspace(0, len(store.axis) - 1, BANDS).round().astype(int).tolist()
    device, draw = torch.device("cpu"), torch.Generator().manual_seed(0)
    for name, chosen in ((f"{BANDS} bands", bands), ("all bands", range(len(store.axis)))):
        bank = step(
            f"bank of {name}, mmap",
            lambda chosen=chosen: PlaneBank(store, chosen, device, Residency("mmap", "")),
        )
        size = BATCH if chosen is bands else BATCH // 4
        for turn in ("first", "second"):
            rows = torch.randperm(len(store), generator=draw)[:size]
            step(f"{turn} batch of {size}, {name}", lambda bank=bank, rows=rows: bank.batch(rows))
        del bank
    shards, index = store.shards, [file.stat().st_size for file in path.iterdir() if file.is_file()]
    return {
        "specimens": count,
        "bytes": {
            "planes_per_specimen": shards.file_bytes,
            "details_per_specimen": shards.details_path(store._keys[0]).stat().st_size,
            "index": sum(index),
            "planes": store.num_bytes,
        },
        "steps": found,
    }


def private() -> float:
    """Return the bytes of memory of this process that are its own."""
    return float(psutil.Process().memory_full_info().uss)
