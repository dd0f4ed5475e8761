import os
import shutil
import threading
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from tolerance import rounding

from hyperspec.cubes.checksums import combined
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.labels import PatternLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.config import FolderData, TilesData
from hyperspec.datasets.preparation.preparation import PrepareSettings, TileSettings
from hyperspec.datasets.preparation.prepare import Preparer
from hyperspec.datasets.store import packed as packing
from hyperspec.datasets.store import packed as storing
from hyperspec.datasets.store import shards
from hyperspec.datasets.store.on_the_fly import DirectSource
from hyperspec.datasets.store.packed import Store, pack
from hyperspec.datasets.store.shards import Shards, runs
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils import pread as bulk
from hyperspec.utils.errors import BandError, CatalogueError, HyperspecError

AXIS = SpectralAxis.linear(400, 700, 7)
SETTINGS = PrepareSettings(size=10)
NAMES = ("A b_1D_010101", "A b_1V_010101", "A b_2D_020202", "C d_1D_010101", "C d_1V_020202")


def write_specimen(path, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:20, :24]
    disc = (y - 9) ** 2 + (x - 11) ** 2 < rng.integers(40, 70)
    spectrum = rng.uniform(0.3, 0.8, 7)[:, None, None]
    values = np.where(disc, spectrum, 0.02) + rng.normal(0, 0.01, (7, 20, 24))
    write_envi(path, values, AXIS, dtype=np.float32)


@pytest.fixture
def root(tmp_path):
    for seed, name in enumerate(NAMES):
        write_specimen(tmp_path / "data" / f"{name}.bil", seed)
    return tmp_path / "data"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def look(root):
    return scan(root, labels=PatternLabels())


def test_planes_masks_and_table_equal_preparing_each_cube(root, cache):
    catalogue = look(root)
    store = pack(catalogue, SETTINGS, cache)
    preparer = Preparer(catalogue, SETTINGS)
    assert len(store) == 5
    assert list(store.table["specimen"]) == ["A b/1", "A b/1", "A b/2", "C d/1", "C d/1"]
    assert (store.axis, store.size, store.dtype) == (AXIS, 10, np.float16)
    assert store.hash == preparer.hash
    for row, record in enumerate(catalogue.records):
        prepared = preparer.prepare(record)
        expected = prepared.image.astype(np.float16)
        np.testing.assert_array_equal(store.planes([row])[0], expected)
        np.testing.assert_array_equal(store.image(row), expected)
        np.testing.assert_array_equal(store.masks([row])[0], prepared.mask)


def test_rows_and_bands_come_in_the_order_asked(root, cache):
    store = pack(look(root), SETTINGS, cache)
    whole = store.planes(range(5))
    for bands in ([0], [6, 2, 3, 4, 0], list(range(7)), [5, 4, 3]):
        got = store.planes([4, 0, 4], bands)
        np.testing.assert_array_equal(got, whole[[4, 0, 4]][:, bands])
    selection = BandSelection((5, 1), AXIS, "list")
    np.testing.assert_array_equal(store.planes([2], selection), whole[[2]][:, [5, 1]])
    elsewhere = BandSelection((0,), SpectralAxis.linear(500, 600, 2), "list")  # 500 nm: band 2
    np.testing.assert_array_equal(store.planes([2], elsewhere), whole[[2]][:, [2]])


def test_runs_of_neighbours():
    assert runs([3, 4, 5, 9, 8, 0, 1]) == [(0, 3, 3), (3, 9, 1), (4, 8, 1), (5, 0, 2)]


@pytest.mark.parametrize("threads_from", [0, 2**30])
@pytest.mark.parametrize("no_wait", [0, bulk._NO_WAIT])
def test_planes_are_the_same_whichever_way_they_are_read(
    root, cache, monkeypatch, threads_from, no_wait
):
    store = pack(look(root), SETTINGS, cache)
    monkeypatch.setattr(storing, "_THREADS_FROM_BYTES", threads_from)
    monkeypatch.setattr(storing, "_THREADS_FROM_PIECE", 0)
    monkeypatch.setattr(bulk, "_NO_WAIT", no_wait)
    for bands in ([0, 1, 3, 6], [6, 0, 2, 5], [2, 3, 5, 1]):
        expected = np.stack([np.asarray(store.image(row))[bands] for row in (1, 3)])
        np.testing.assert_array_equal(store.planes([1, 3], bands), expected)


def test_cold_planes_are_announced_and_warm_ones_are_not(root, cache, monkeypatch):
    store = pack(look(root), SETTINGS, cache)
    path = store.shards.planes_path(store._keys[2])
    expected = np.load(path)[[6, 1, 3]]
    announced = []
    monkeypatch.setattr(bulk, "_announce", lambda _, pieces: announced.append(len(pieces)))
    drop_from_page_cache(path)
    np.testing.assert_array_equal(store.planes([2], [6, 1, 3])[0], expected)
    if announced == []:
        pytest.skip("the page cache of this file system cannot be emptied or asked")
    assert announced == [3]
    np.testing.assert_array_equal(store.planes([2], [6, 1, 3])[0], expected)
    assert announced == [3]


def drop_from_page_cache(path):
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_planes_are_put_where_asked(root, cache):
    catalogue = look(root)
    for source in (pack(catalogue, SETTINGS, cache), DirectSource(catalogue, SETTINGS)):
        expected = source.planes([3, 1], [6, 0, 1])
        out = np.full_like(expected, np.nan)
        assert source.planes([3, 1], [6, 0, 1], out=out) is out
        np.testing.assert_array_equal(out, expected)
        with pytest.raises(
            HyperspecError,
            match=r"out is a contiguous array of shape \(2, 3, 10, 10\) and type float16, but the "
            r"result needs .* shape \(2, 2, 10, 10\) and type float16",
        ):
            source.planes([3, 1], [6, 0], out=out)
        with pytest.raises(HyperspecError, match="out is a not contiguous array"):
            source.planes([3, 1], [6, 0], out=out[:, ::2])


def test_the_masks_of_all_images_are_no_copy(root, cache):
    store = pack(look(root), SETTINGS, cache)
    every = store.masks(range(len(store)))
    assert np.shares_memory(every, store.masks(range(len(store))))
    np.testing.assert_array_equal(every[::-1], store.masks(range(len(store))[::-1]))


def test_asking_for_what_is_not_there_is_an_error(root, cache):
    store = pack(look(root), SETTINGS, cache)
    with pytest.raises(BandError, match="Band 7 was asked for, but there are bands 0 to 6"):
        store.planes([0], [7])
    with pytest.raises(BandError, match="No band was asked for"):
        store.planes([0], [])
    with pytest.raises(CatalogueError, match="image 5 was asked for, but there are 0 to 4"):
        store.planes([5])
    with pytest.raises(CatalogueError, match="There are 1 classes for 2 specimen images"):
        store.statistics([0, 1], by=["a"])


def test_direct_source_gives_the_same_without_writing(root, cache):
    catalogue = look(root)
    store, direct = pack(catalogue, SETTINGS, cache), DirectSource(catalogue, SETTINGS)
    assert direct.hash == store.hash
    assert (direct.axis, direct.size, direct.dtype) == (store.axis, store.size, store.dtype)
    pd.testing.assert_frame_equal(direct.table, store.table)
    before = sorted(p.name for p in root.rglob("*"))
    np.testing.assert_array_equal(direct.planes([3, 0], [6, 1]), store.planes([3, 0], [6, 1]))
    np.testing.assert_array_equal(direct.masks([3, 0]), store.masks([3, 0]))
    assert direct.statistics([3, 0]).hash == store.statistics([3, 0]).hash
    assert sorted(p.name for p in root.rglob("*")) == before


def test_direct_source_reads_a_cube_once_whole_and_then_what_is_asked(root, monkeypatch):
    read, asked = Preparer.read, []

    def counted(self, record, bands=None, window=None):
        asked.append((record.file, bands))
        return read(self, record, bands, window)

    monkeypatch.setattr(Preparer, "read", counted)
    direct = DirectSource(look(root), SETTINGS)
    first = direct.planes([1], [6, 0])
    np.testing.assert_array_equal(direct.planes([1], [6, 0]), first)
    direct.masks([1])
    name = direct.table["file"][1]
    assert asked == [(name, None), (name, [6, 0])]


def test_statistics_equal_those_of_all_pixels_at_once(root, cache):
    catalogue = look(root)
    store = pack(catalogue, SETTINGS, cache)
    preparer = Preparer(catalogue, SETTINGS)
    rows = [4, 0, 2]
    spectra = []
    for row in rows:
        record = catalogue.records[row]
        spectra.append(preparer.read(record)[:, preparer.locate(record).foreground].T)
    whole = np.concatenate(spectra).astype(np.float64)
    atol = rounding(len(whole), np.cov(whole.T))
    for _ in range(2):  # the second time from the file beside the store
        merged = store.statistics(rows)
        assert merged.count == len(whole)
        np.testing.assert_allclose(merged.mean, whole.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(merged.covariance, np.cov(whole.T), rtol=0, atol=atol)
        assert list(merged.classes) == ["A b", "C d"]
        own = np.concatenate(spectra[1:]).astype(np.float64)
        np.testing.assert_allclose(merged.classes["A b"].mean, own.mean(axis=0), rtol=1e-12)
    other = store.statistics(rows, by=["x", None, "x"])
    assert list(other.classes) == ["x"]
    assert other.classes["x"].count == len(spectra[0]) + len(spectra[2])


def test_merging_by_groups_equals_merging_all(root, cache, monkeypatch):
    store = pack(look(root), SETTINGS, cache)
    expected = store.statistics(range(5), by=["x"] * 5)
    monkeypatch.setattr("hyperspec.datasets.store.source._MERGE_GROUP", 2)
    got = store.statistics(range(5), by=["y"] * 5)
    assert got.count == got.classes["y"].count == expected.count
    atol = rounding(expected.count, expected.covariance)
    np.testing.assert_allclose(got.covariance, expected.covariance, rtol=0, atol=atol)
    np.testing.assert_array_equal(got.histogram, expected.histogram)


def test_changing_one_cube_changes_no_statistic_of_the_others(root, cache):
    before = pack(look(root), SETTINGS, cache).statistics([0, 1, 2])
    write_specimen(root / f"{NAMES[4]}.bil", 99)
    after = pack(look(root), SETTINGS, cache).statistics([0, 1, 2])
    assert after.hash == before.hash


def count_prepared(monkeypatch):
    prepared = []
    original = Preparer.prepare

    def counting(self, record):
        prepared.append(record.file)
        return original(self, record)

    monkeypatch.setattr(Preparer, "prepare", counting)
    return prepared


def test_packing_again_prepares_only_what_is_new_or_replaced(root, cache, monkeypatch):
    prepared = count_prepared(monkeypatch)
    first = pack(look(root), SETTINGS, cache)
    assert sorted(prepared) == [f"{name}.bil" for name in NAMES]
    prepared.clear()
    assert pack(look(root), SETTINGS, cache).hash == first.hash
    assert prepared == []
    write_specimen(root / "E f_1D_010101.bil", 50)
    write_specimen(root / f"{NAMES[1]}.bil", 51)
    second = pack(look(root), SETTINGS, cache)
    assert sorted(prepared) == ["A b_1V_010101.bil", "E f_1D_010101.bil"]
    assert second.hash != first.hash
    # Neither did the old store change under a job that still uses it.
    assert not np.array_equal(first.planes([1]), second.planes([1]))
    np.testing.assert_array_equal(first.planes([0]), second.planes([0]))
    prepared.clear()
    (root / "x.csv").write_text("")
    relabelled = pack(scan(root), SETTINGS, cache)  # other labels: a new index, the same shards
    assert prepared == []
    assert relabelled.hash != second.hash
    assert relabelled.table["label"].isna().all()


def test_other_settings_are_another_store(root, cache):
    catalogue = look(root)
    small = pack(catalogue, PrepareSettings(size=4), cache)
    large = pack(catalogue, PrepareSettings(size=6, dtype="float32"), cache)
    assert small.planes([0]).shape == (1, 7, 4, 4)
    assert large.planes([0]).shape == (1, 7, 6, 6)
    assert large.planes([0]).dtype == np.float32


def test_jobs_that_start_together_build_once(root, cache, monkeypatch):
    prepared = count_prepared(monkeypatch)
    catalogue = look(root)
    hashes = []

    def job():
        hashes.append(pack(catalogue, SETTINGS, cache, num_threads=1).hash)

    threads = [threading.Thread(target=job) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hashes) == 4
    assert len(set(hashes)) == 1
    assert len(prepared) == 5


def test_truncated_planes_are_noticed_and_packed_again(root, cache, monkeypatch):
    catalogue = look(root)
    store = pack(catalogue, SETTINGS, cache)
    expected = store.planes(range(5))
    path = sorted((cache / "shards").glob("*.npy"))[2]
    os.truncate(path, 200)
    with pytest.raises(CatalogueError, match=rf"{path.name} has 200 bytes instead of {128 + 1400}"):
        Store.open(store.folder)
    with pytest.raises(CatalogueError, match=r"cannot be read .*bytes too early.*hyperspec pack"):
        store.planes(range(5))
    prepared = count_prepared(monkeypatch)
    np.testing.assert_array_equal(pack(catalogue, SETTINGS, cache).planes(range(5)), expected)
    assert len(prepared) == 1


@pytest.mark.parametrize(("pattern", "place"), [("*.npy", -1), ("*.npz", 3000)])
def test_full_verification_finds_and_mends_a_changed_byte(root, cache, monkeypatch, pattern, place):
    store = pack(look(root), SETTINGS, cache)
    path = sorted((cache / "shards").glob(pattern))[0]
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert len(Store.open(store.folder)) == 5
    with pytest.raises(CatalogueError, match=rf"{path.stem}.npy or its .npz does not match"):
        Store.open(store.folder, verify=True)
    prepared = count_prepared(monkeypatch)
    mended = pack(look(root), SETTINGS, cache, verify=True)
    assert len(prepared) == 1
    assert len(Store.open(mended.folder, verify=True)) == 5


def test_statistics_are_given_even_where_they_cannot_be_kept(root, cache, monkeypatch, caplog):
    store = pack(look(root), SETTINGS, cache)
    (store.folder / "statistics").write_text("in the way")
    first = store.statistics(range(5))
    assert "The statistics are not kept in" in caplog.text
    assert first.hash == store.statistics(range(5)).hash
    assert store.statistics([0, 1]).count < first.count  # a few rows are never kept
    assert caplog.text.count("The statistics are not kept in") == 2


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("store.json", b"{", r"store.json cannot be read"),
        ("store.json", None, r"store.json cannot be read"),
        ("table.parquet", b"x", r"table.parquet cannot be read"),
        ("masks.npy", b"x", r"masks.npy cannot be read"),
    ],
)
def test_damaged_index_is_an_error_and_is_mended(root, cache, name, content, text):
    store = pack(look(root), SETTINGS, cache)
    path = store.folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(CatalogueError, match=text):
        Store.open(store.folder)
    assert pack(look(root), SETTINGS, cache).masks([0]).any()


def test_edited_index_is_noticed(root, cache):
    store = pack(look(root), SETTINGS, cache)
    path = store.folder / "store.json"
    path.write_text(path.read_text().replace('"crop_margin": 0.05', '"crop_margin": 0.06'))
    with pytest.raises(CatalogueError, match="does not match its own checksum"):
        Store.open(store.folder)


def test_cubes_that_fail_are_listed_and_the_others_kept(root, cache, monkeypatch):
    write_envi(root / "bad.bil", np.full((7, 5, 5), np.nan, np.float32), AXIS)
    with pytest.raises(CatalogueError, match=r"1 of 6 cubes could not be prepared: .*bad.bil: ev"):
        pack(look(root), SETTINGS, cache)
    assert len(list((cache / "shards").glob("*.npy"))) == 5
    (root / "bad.bil").unlink()
    (root / "bad.hdr").unlink()
    prepared = count_prepared(monkeypatch)
    assert len(pack(look(root), SETTINGS, cache)) == 5
    assert prepared == []


def test_too_little_room_is_told_before_anything_is_written(root, cache, monkeypatch):
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda path: usage._replace(free=10**6))
    with pytest.raises(CatalogueError, match=r"5 cubes needs about 0.07 GB in .*0.00 GB free"):
        pack(look(root), SETTINGS, cache)
    assert not (cache / "shards").exists()


def test_a_failed_write_leaves_nothing_half_done(root, cache, monkeypatch):
    def fail(file, image, dtype):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "_save", fail)
    with pytest.raises(CatalogueError, match=r"stopped: .*No space left.*data.cache_dir"):
        pack(look(root), SETTINGS, cache)
    monkeypatch.undo()
    assert list((cache / "shards").glob("*.npy")) == []
    assert list((cache / "shards").glob(".*")) == []
    assert len(pack(look(root), SETTINGS, cache)) == 5


def test_leftovers_of_a_killed_pack_are_removed(root, cache):
    leftover = cache / "shards" / ".abc.npy.1.part"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    pack(look(root), SETTINGS, cache)
    assert not leftover.exists()


def test_predicted_sizes_hold(tmp_path):
    # 60 bands and many pixels, so that the statistics are at their largest.
    axis = SpectralAxis.linear(400, 700, 60)
    values = np.random.default_rng(0).uniform(0, 1, (60, 30, 30)).astype(np.float32)
    write_envi(tmp_path / "d/a.bil", values, axis)
    store = pack(scan(tmp_path / "d"), PrepareSettings(size=12, mask="none"), tmp_path / "c")
    (key,) = store._keys
    packed: Shards = store.shards
    assert packed.planes_path(key).stat().st_size == packed.file_bytes == store.num_bytes
    actual = packed.file_bytes + packed.details_path(key).stat().st_size
    assert 0.7 * packed.shard_bytes < actual <= packed.shard_bytes
    assert isinstance(store.statistics([0]), SpectralStatistics)


def test_progress_is_shown_on_a_terminal_only(root, cache, monkeypatch, capsys):
    pack(look(root), SETTINGS, cache)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    monkeypatch.delenv("HYPERSPEC_SWEEP_VIEW")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    pack(look(root), PrepareSettings(size=4), cache)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Preparing cubes" in captured.err


def test_settings_name_the_same_images_as_in_0_1_0():
    """What stores of 0.1.0 are found by: nothing is packed anew by a later version."""
    data = FolderData(size=9, mask="otsu", crop_margin=0.1)
    assert asdict(PrepareSettings.of(data)) == {
        "size": 9, "calibrate": "auto", "mask": "otsu", "crop_margin": 0.1, "dtype": "float16",
        "white_reflectance": 1.0,
    }  # fmt: skip
    tiles = TileSettings.of(TilesData(tile=64, stride=32, mask="none"))
    hashes = [combined([asdict(one)]) for one in (PrepareSettings(), tiles, tiles.of_scene())]
    assert hashes == [
        "52d801cc0cf204fa32fc973419569092",
        "f73e64d80c303bf86fe6c7630c1064ec",
        "763607232a17fc317e2bc48053b2fdb5",
    ]
