"""A damaged store is told or mended, never believed; one from elsewhere leads to no other place."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from test_store import NAMES, SETTINGS, count_prepared, look, write_specimen

from hyperspec.cubes.checksums import ChecksumCache, bytes_digest, combined
from hyperspec.datasets.export import export_store
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.packed import Store, pack
from hyperspec.utils.errors import CatalogueError
from hyperspec.utils.foreign_paths import inside


@pytest.fixture
def root(tmp_path):
    for seed, name in enumerate(NAMES):
        write_specimen(tmp_path / "data" / f"{name}.bil", seed)
    return tmp_path / "data"


@pytest.fixture
def store(root, tmp_path):
    return pack(look(root), SETTINGS, tmp_path / "cache")


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def everything(store):
    rows = range(len(store))
    return (
        *(store.planes(rows).tobytes(), store.masks(rows).tobytes(), store.statistics(rows).hash),
        *(store.table.to_csv(), np.asarray(store.image(1)).tobytes(), store.hash),
    )


def rewrite(store, change, name="table.parquet"):
    """Edit the index, or the table, as somebody would who keeps its sums right."""
    path = store.folder / "store.json"
    content = json.loads(path.read_text())["content"]
    if name == "table.parquet":
        change(table := store.table.copy())
        table.to_parquet(store.folder / name, index=False)
        content["sums"][name] = bytes_digest((store.folder / name).read_bytes())
    else:
        change(content)
    path.write_text(json.dumps({"content": content, "checksum": combined([content])}))


def as_of_0_1_0(store):
    """Write the index as version 0.1.0 wrote it: without sums of the table and the masks."""

    def change(content):
        for name in ("sums", "calibration", "doubts"):
            del content[name]
        content["version"] = 1

    rewrite(store, change, "store.json")


@pytest.mark.parametrize("name", ["table.parquet", "masks.npy"])
def test_a_flipped_bit_of_labels_or_masks_is_told_and_mended(store, root, tmp_path, name):
    before = everything(store)
    length = (store.folder / name).stat().st_size
    for place in range(0, length, max(length // 12, 1)):
        flip(store.folder / name, place)
        with pytest.raises(CatalogueError, match=f"{name} cannot be read .it does not match its"):
            Store.open(store.folder)
        flip(store.folder / name, place)
    flip(store.folder / name, length // 2)
    assert everything(pack(look(root), SETTINGS, tmp_path / "cache")) == before


def test_masks_too_large_to_read_twice_are_compared_when_asked(store, monkeypatch):
    monkeypatch.setattr("hyperspec.datasets.store.store_index._SMALL", 0)
    assert len(Store.open(store.folder, verify=True)) == 5
    path = store.folder / "masks.npy"
    flip(path, -1)
    assert len(Store.open(store.folder)) == 5
    with pytest.raises(CatalogueError, match="does not match its checksum"):
        Store.open(store.folder, verify=True)


def test_a_store_of_0_1_0_opens_and_its_labels_and_masks_are_compared_when_asked(
    store, root, tmp_path, monkeypatch
):
    before = everything(store)
    as_of_0_1_0(store)
    assert everything(Store.open(store.folder, verify=True)) == before
    stamps = {path: path.stat().st_mtime_ns for path in store.folder.glob("*.*")}
    cache, prepared = tmp_path / "cache", count_prepared(monkeypatch)
    assert everything(pack(look(root), SETTINGS, cache, verify=True)) == before
    assert stamps == {path: path.stat().st_mtime_ns for path in store.folder.glob("*.*")}

    table = pd.read_parquet(store.folder / "table.parquet")
    table.loc[0, "label"] = "A c"
    table.to_parquet(store.folder / "table.parquet", index=False)
    assert Store.open(store.folder).table["label"][0] == "A c"  # nothing tells
    assert everything(pack(look(root), SETTINGS, cache, verify=True)) == before
    as_of_0_1_0(store)
    flip(store.folder / "masks.npy", -1)
    with pytest.raises(CatalogueError, match="has another mask of image 4"):
        Store.open(store.folder, verify=True)
    assert everything(pack(look(root), SETTINGS, cache, verify=True)) == before
    assert prepared == []


def test_what_packing_mends_is_told_once(store, root, tmp_path, caplog):
    flip(store.folder / "masks.npy", -1)
    pack(look(root), SETTINGS, tmp_path / "cache", verify=True)
    assert caplog.text.count("It is mended now.") == 1


def test_a_damaged_cache_of_statistics_is_gathered_again(store, caplog):
    expected = store.statistics(range(5)).hash
    (path,) = (store.folder / "statistics").glob("*.npz")
    intact = path.read_bytes()
    for damaged in (intact[:-300], b"", intact.replace(b"mean.npy", b"meen.npy"), b"x" * 100):
        path.write_bytes(damaged)
        caplog.clear()
        assert Store.open(store.folder).statistics(range(5)).hash == expected
        assert f"The statistics in {path} are damaged" in caplog.text
        assert "pickle" not in caplog.text
        assert path.read_bytes() != damaged
    place = intact.index(b"NUMPY", 2000) + 200
    flip(path, place)
    assert Store.open(store.folder).statistics(range(5)).hash == expected


def test_a_damaged_sidecar_is_told_where_it_is_read_and_made_anew(
    store, root, tmp_path, monkeypatch
):
    before = everything(store)
    shutil.rmtree(store.folder / "statistics")
    path = sorted((tmp_path / "cache/shards").glob("*.npz"))[0]
    intact = path.read_bytes()
    flip(path, intact.index(b"mask.npy") + 150)
    with pytest.raises(CatalogueError, match=rf"{path.name} cannot be read .*--verify"):
        Store.open(store.folder).statistics(range(5)), store.shards.mask(path.stem)
    (store.folder / "masks.npy").unlink()
    prepared = count_prepared(monkeypatch)
    assert everything(pack(look(root), SETTINGS, tmp_path / "cache")) == before
    assert len(prepared) == 1


def test_a_damaged_header_of_planes_decides_nothing_and_is_found(store, tmp_path):
    before = everything(store)
    path = store.shards.planes_path(store._keys[1])
    path.write_bytes(path.read_bytes().replace(b"<f2", b"<i2"))
    assert everything(Store.open(store.folder)) == before
    with pytest.raises(CatalogueError, match="does not match its checksum"):
        Store.open(store.folder, verify=True)


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"{}", b"[]", b"\xff\xfe", b'{"content": {"version": 2}, "checksum": 0}'],
    ids=["deep", "empty", "list", "bytes", "little"],
)
def test_an_index_that_is_none_is_told_and_mended(store, root, tmp_path, content):
    before = everything(store)
    (store.folder / "store.json").write_bytes(content)
    with pytest.raises(CatalogueError, match=r"store.json cannot be read"):
        Store.open(store.folder)
    assert everything(pack(look(root), SETTINGS, tmp_path / "cache")) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(keys=3),
        lambda content: content.update(keys=["../../../secret"] * 5),
        lambda content: content.update(keys=["/etc/passwd"] * 5),
        lambda content: content.update(keys=["a" * 300] * 5),
        lambda content: content.update(keys=content["keys"][:4]),
        lambda content: content.update(hash="../" * 4),
        lambda content: content.update(settings={"size": "x"}),
        lambda content: content.update(axis=[1, 2]),
        lambda content: content.update(sums={}),
        lambda content: content.update(version=3),
    ],
    ids=["int", "up", "absolute", "long", "few", "hash", "settings", "axis", "sums", "version"],
)
def test_an_index_that_somebody_edited_is_refused(store, change):
    rewrite(store, change, "store.json")
    with pytest.raises(CatalogueError, match=r"cannot be read"):
        Store.open(store.folder)


def test_a_store_under_the_name_of_another_is_not_taken_for_it(store, root, tmp_path):
    other = pack(look(root), PrepareSettings(size=8), tmp_path / "cache")
    shutil.rmtree(store.folder)
    shutil.copytree(other.folder, store.folder)
    assert pack(look(root), SETTINGS, tmp_path / "cache").size == 10


def test_links_that_lead_out_of_the_cache_are_not_read(store, root, tmp_path):
    before = everything(store)
    outside = tmp_path / "outside"
    outside.mkdir()
    moved = store.shards.planes_path(store._keys[0])
    shutil.move(moved, outside)
    moved.symlink_to(outside / moved.name)
    with pytest.raises(CatalogueError, match="is a link that leads out of"):
        Store.open(store.folder)
    mended = pack(look(root), SETTINGS, tmp_path / "cache")
    assert everything(mended) == before
    assert not moved.is_symlink()

    shutil.move(store.folder / "masks.npy", outside)
    (store.folder / "masks.npy").symlink_to(outside / "masks.npy")
    with pytest.raises(CatalogueError, match="it is a link that leads out of the store's folder"):
        Store.open(store.folder)
    shutil.rmtree(store.folder / "statistics")
    (store.folder / "statistics").symlink_to(outside)
    again = pack(look(root), SETTINGS, tmp_path / "cache")
    assert everything(again) == before
    assert sorted(os.listdir(outside)) == sorted(["masks.npy", moved.name])


def test_a_cache_folder_that_is_a_link_is_one_s_own(store, tmp_path):
    (tmp_path / "linked").symlink_to(tmp_path / "cache")
    opened = Store.open(tmp_path / "linked/stores" / store.hash)
    assert everything(opened) == everything(store)


@pytest.mark.parametrize("name", ["../../up.bil", "/tmp/absolute.bil", "a/../../up.bil", "", ".."])
def test_an_export_stays_in_its_folder(store, tmp_path, name):
    rewrite(store, lambda table: table.__setitem__("file", [name, *table["file"][1:]]))
    with pytest.raises(CatalogueError, match=r"names an image .*leads out of the export's folder"):
        export_store(Store.open(store.folder), tmp_path / "a/b/out", "envi")
    assert not list(tmp_path.rglob("*up*"))
    assert list((tmp_path / "a/b").iterdir()) == []


def test_no_image_of_an_export_is_written_over_another(store, tmp_path):
    names = ["a.bil.raw", "a.bil", "a.bip", "b.bil", "c.bil"]
    rewrite(store, lambda table: table.__setitem__("file", names))
    out = export_store(Store.open(store.folder), tmp_path / "out", "envi")
    assert {path.name for path in out.glob("*.bsq")} == {f"{name}.bsq" for name in names}
    rewrite(store, lambda table: table.__setitem__("file", ["a.bil"] * 5))
    with pytest.raises(CatalogueError, match="names an image twice"):
        export_store(Store.open(store.folder), tmp_path / "second", "envi")


def test_zarr_refuses_columns_that_lead_elsewhere(store, tmp_path):
    rewrite(store, lambda table: table.__setitem__("../../up", "x"))
    with pytest.raises(CatalogueError, match="cannot be written"):
        export_store(Store.open(store.folder), tmp_path / "a/b/out", "zarr")
    assert not list(tmp_path.rglob("*up*"))


def test_a_damaged_cache_of_checksums_costs_a_second_reading(root, tmp_path):
    cache = tmp_path / "cache"
    expected = [record.checksum for record in look(root).records]
    file = cache / "checksums.json"

    def found():
        from hyperspec.datasets.catalogue.labels import PatternLabels
        from hyperspec.datasets.catalogue.scan import scan

        catalogue = scan(root, labels=PatternLabels(), cache_dir=cache)
        return [record.checksum for record in catalogue.records]

    assert found() == expected
    written = file.read_text()
    known = json.loads(written)["content"]
    digest = next(iter(known.values()))[3]
    other = ("0" if digest[0] != "0" else "1") + digest[1:]
    for content in (b"[" * 100_000, b"", b"\xff", written.replace(digest, other).encode()):
        file.write_bytes(content)
        assert found() == expected
        assert json.loads(file.read_text())["content"] == known
    # As version 0.1.0 wrote it it counts, so that nothing is read again.
    file.write_text(json.dumps(known))
    assert ChecksumCache(cache)._known == known


def test_paths_from_files_stay_below_a_folder(tmp_path):
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    assert inside(root, "deep/new/file") == root / "deep/new/file"
    assert inside(root, "deep/../file") == root / "deep/../file"
    for name in ("..", "../x", "out/x", "/etc/passwd", "", "a\0b", None, 3):
        assert inside(root, name) is None, name
