"""Files of the store that stay open: what is read again, replaced, cut short, let go."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_store_reading import drop, resident_bytes

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store import shards
from hyperspec.datasets.store import shards as kept
from hyperspec.datasets.store.packed import Store, pack
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils import pread as bulk
from hyperspec.utils.errors import CatalogueError

NUM_BANDS, SIZE, COUNT = 30, 24, 4
BANDS = [7, 3, 4, 5, 29, 0, 3]


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        values = rng.integers(1, 4096, (NUM_BANDS, SIZE, SIZE)).astype(np.uint16)
        axis = SpectralAxis.linear(400, 700, NUM_BANDS)
        write_envi(tmp_path / f"data/c{i}.bil", values, axis, scale_factor=4096)
    settings = PrepareSettings(size=SIZE, mask="none")
    return pack(scan(tmp_path / "data"), settings, tmp_path / "cache")


def on_disk(store):
    """Return all planes, read by NumPy."""
    paths = [store.shards.planes_path(key) for key in store._keys]
    return np.stack([np.load(path) for path in paths])


def with_small_share(monkeypatch, store, most):
    monkeypatch.setattr(store.shards, "_files", kept.KeptFiles(most=most))


def test_every_reading_is_right_whichever_way_it_takes(store, monkeypatch):
    taken = []
    read = shards.read_pieces
    monkeypatch.setattr(shards, "read_pieces", lambda *a: (taken.append(1), read(*a)))
    expected = on_disk(store)
    for reading in range(4):
        for bands in (BANDS, None, [NUM_BANDS - 1]):
            got = store.planes([2, 0, 2], bands)
            chosen = expected[[2, 0, 2]]
            np.testing.assert_array_equal(got, chosen if bands is None else chosen[:, bands])
        if reading == 0:
            # Each file by reads once; where it cannot be told what is cached, always.
            assert len(taken) == (2 if bulk._NO_WAIT else 9)


def test_files_that_left_the_page_cache_are_read_not_mapped(store, monkeypatch):
    expected = on_disk(store)
    path = store.shards.planes_path(store._keys[1])
    taken = []
    read = shards.read_pieces
    monkeypatch.setattr(shards, "read_pieces", lambda *a: (taken.append(1), read(*a)))
    for _ in range(5):  # the system may bring the file back before it is read
        store.planes([1], BANDS)
        drop(path)
        if resident_bytes(path):
            pytest.skip("this file system keeps the page cache when told to drop it")
        taken.clear()
        np.testing.assert_array_equal(store.planes([1], BANDS)[0], expected[1, BANDS])
        if taken:
            break
    assert taken == [1]


# A crash by SIGBUS would take the tests with it.
CUT = """
import os, sys
from pathlib import Path
from hyperspec.datasets.store.packed import Store
from hyperspec.utils.errors import CatalogueError
store = Store.open(Path(sys.argv[1]))
path = store.shards.planes_path(store._keys[0])
for _ in range(3):
    store.planes([0])
os.truncate(path, path.stat().st_size - 100)
for _ in range(3):
    store.planes([0], [0, 5])
    try:
        store.planes([0])
    except CatalogueError as error:
        print(error)
os.truncate(path, 0)
try:
    store.planes([0], [3])
except CatalogueError as error:
    print(error)
"""


def test_a_file_cut_short_under_its_map_is_an_error(store):
    done = subprocess.run(
        [sys.executable, "-c", CUT, str(store.folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all("the file ends 100 bytes too early" in line for line in lines[:3])
    assert f"the file ends {SIZE * SIZE * 2} bytes too early" in lines[3]
    assert "Pack the folder again: hyperspec pack." in lines[3]


def test_a_replaced_file_is_read_anew(store):
    for _ in range(3):
        store.planes([0], BANDS)
    path = store.shards.planes_path(store._keys[0])
    other = np.full((NUM_BANDS, SIZE, SIZE), 0.25, np.float16)
    np.save(path.with_name("new.npy"), other)
    path.with_name("new.npy").replace(path)
    np.testing.assert_array_equal(store.planes([0], BANDS)[0], other[BANDS])


def test_a_removed_file_is_an_error_though_it_was_mapped(store):
    for _ in range(3):
        store.planes([0], BANDS)
    store.shards.planes_path(store._keys[0]).unlink()
    with pytest.raises(CatalogueError, match=r"cannot be read \(.*No such file.*hyperspec pack"):
        store.planes([0], BANDS)


def is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_only_the_last_files_stay_open(store, monkeypatch):
    with_small_share(monkeypatch, store, 2)
    files = store.shards._files
    opened = []
    for row in (0, 1, 0, 2):
        store.planes([row], BANDS)
        opened.append(next(reversed(files._files.values())).descriptor)
    assert len(files) == 2
    # Row 1 was used longest ago; its number is free again, and may be that of row 2.
    assert opened[0] == opened[2]
    assert is_open(opened[0])
    assert set(files._files) == {store._keys[0], store._keys[2]}
    store.shards.release_files()
    assert len(files) == 0
    assert not is_open(opened[0])
    assert not is_open(opened[3])


def test_files_are_closed_with_the_store(store):
    again = Store.open(store.folder)
    again.planes([0, 1], BANDS)
    descriptors = [file.descriptor for file in again.shards._files._files.values()]
    assert all(map(is_open, descriptors))
    del again
    assert not any(map(is_open, descriptors))


def test_threads_share_few_open_files(store, monkeypatch):
    with_small_share(monkeypatch, store, 2)
    expected = on_disk(store)

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            row, bands = int(rng.integers(COUNT)), rng.integers(0, NUM_BANDS, 6)
            np.testing.assert_array_equal(store.planes([row], bands)[0], expected[row, bands])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    assert len(store.shards._files) == 2


def test_a_store_travels_without_its_open_files(store):
    store.planes([0], BANDS)
    copy = pickle.loads(pickle.dumps(store))
    assert len(copy.shards._files) == 0
    np.testing.assert_array_equal(copy.planes([0], BANDS), store.planes([0], BANDS))
    assert len(store.shards._files) == 1


def test_how_many_follows_the_limit_on_open_files(monkeypatch):
    import resource

    for limit, most in ((1024, 128), (4, 1), (10**6, 1024), (resource.RLIM_INFINITY, 1024)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert kept.KeptFiles()._most == most
