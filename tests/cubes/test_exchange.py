"""Stores out to ENVI and Zarr, read there by rasterio and xarray, and back bit for bit."""

import builtins
import csv
import json
import shutil

import numpy as np
import pytest
import xarray
import zarr
from cube_oracle import oracle

from hyperspec.cubes.envi.header import read_header
from hyperspec.cubes.envi.writer import write_envi
from hyperspec.datasets.catalogue.labels import CsvLabels, NoLabels, PatternLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.export import envi as envi_module
from hyperspec.datasets.export.export import export_store, is_export, open_export, pack_export
from hyperspec.datasets.preparation.foreground import read_mask
from hyperspec.datasets.preparation.settings import PrepareSettings
from hyperspec.datasets.store.pack import pack
from hyperspec.datasets.store.packed import Store
from hyperspec.spectra import SpectralAxis
from hyperspec.utils.errors import CatalogueError, ConfigError, CubeError

AXIS = SpectralAxis(
    np.linspace(400, 700, 7), np.full(7, 3.5), np.array([1, 1, 0, 1, 1, 1, 1], bool)
)
NAMES = ("A b_1D_010101", "A b_1V_010101", "sub/C d_1D_010101", "sub/C d_2V_020202")


@pytest.fixture(params=["float16", "float32"])
def store(request, tmp_path):
    for seed, name in enumerate(NAMES):
        rng = np.random.default_rng(seed)
        values = rng.normal(0.05, 0.01, (7, 20, 24))
        values[:, 4:15, 5:17] = rng.uniform(0.2, 0.9, (7, 1, 1)) + rng.normal(0, 0.02, (7, 11, 12))
        write_envi(tmp_path / "data" / f"{name}.bil", values.astype("f4"), AXIS)
    catalogue = scan(tmp_path / "data", labels=PatternLabels())
    return pack(catalogue, PrepareSettings(size=9, dtype=request.param), tmp_path / "cache")


def everything(store):
    rows = range(len(store))
    return store.planes(rows), store.masks(rows)


@pytest.mark.parametrize("kind", ["envi", "zarr"])
def test_packing_an_export_gives_the_same_planes_masks_and_labels(store, tmp_path, kind):
    out = export_store(store, tmp_path / "out" / kind, kind)
    assert is_export(out)
    back = pack_export(out, tmp_path / "cache2")
    assert (back.axis, back.size, back.dtype) == (store.axis, store.size, store.dtype)
    for got, expected in zip(everything(back), everything(store), strict=True):
        np.testing.assert_array_equal(got, expected, strict=True)
    for name in store.table.columns:
        got, expected = back.table[name], store.table[name]
        assert [None if v != v else v for v in got] == [None if v != v else v for v in expected]
    again = Store.open(back.folder, verify=True)
    assert again.hash == pack_export(out, tmp_path / "cache2", num_threads=1).hash
    assert len(list((tmp_path / "cache2" / "stores").iterdir())) == 1
    assert not list((tmp_path / "out").glob(".*"))


def test_statistics_of_an_imported_store_are_those_of_its_pixels(store, tmp_path):
    back = pack_export(export_store(store, tmp_path / "out", "envi"), tmp_path / "cache2")
    planes, masks = everything(store)
    pixels = np.concatenate([p[:, m].T for p, m in zip(planes, masks, strict=True)])
    statistics = back.statistics(range(len(back)))
    assert statistics.count == len(pixels)
    np.testing.assert_allclose(statistics.mean, pixels.mean(0, dtype=np.float64), rtol=1e-12)
    assert sorted(statistics.classes) == ["A b", "C d"]


def test_both_formats_give_one_store(store, tmp_path):
    hashes = {
        pack_export(export_store(store, tmp_path / kind, kind), tmp_path / "cache2").hash
        for kind in ("envi", "zarr")
    }
    assert len(hashes) == 1


def test_envi_files_as_others_read_them(store, tmp_path):
    out = export_store(store, tmp_path / "out", "envi")
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.bsq"))
    assert files == [f"{name}.bsq" for name in NAMES]
    for row, name in enumerate(files):
        header = read_header(out / name)
        assert (header.interleave, str(header.dtype)) == ("bsq", "float32")
        np.testing.assert_array_equal(oracle(out / name), store.image(row).astype("f4"))
        mask = out / name.replace(".bsq", "_mask.png")
        np.testing.assert_array_equal(read_mask(mask, (9, 9)), store.masks([row])[0])
    # And as raw cubes of this package, labels included.
    catalogue = scan(out, labels=CsvLabels(column="label", within="label"))
    assert not catalogue.problems
    assert [r.specimen for r in catalogue.records] == list(store.table["specimen"])
    assert [r.label for r in catalogue.records] == list(store.table["label"])
    assert catalogue.axis == store.axis


def test_zarr_opens_in_xarray_with_wavelengths(store, tmp_path):
    out = export_store(store, tmp_path / "out", "zarr")
    assert json.loads((out / "zarr.json").read_text())["zarr_format"] == 3
    with xarray.open_zarr(out, consolidated=False) as data:
        assert data.reflectance.dims == ("image", "wavelength", "y", "x")
        np.testing.assert_array_equal(data.wavelength, AXIS.wavelengths_nm)
        assert data.wavelength.attrs["units"] == "nm"
        assert {"file", "label", "specimen", "view", "date", "good", "wavelength"} <= set(
            data.coords
        )
        near = data.reflectance.sel(wavelength=512, method="nearest")
        assert float(near.wavelength) == 500
        planes, masks = everything(store)
        np.testing.assert_array_equal(near, planes[:, 2])
        np.testing.assert_array_equal(data.mask, masks)
        np.testing.assert_array_equal(data.fwhm, 3.5)
        chosen = data.reflectance.where(data.label == "C d", drop=True)
        assert chosen.file.values.tolist() == [f"{name}.bil" for name in NAMES[2:]]


def test_a_group_of_another_program(tmp_path):
    values = np.random.default_rng(0).random((2, 3, 5, 5))
    values[0, 1, 2, 3] = np.nan
    group = zarr.open_group(tmp_path / "z", mode="w", zarr_format=2)
    group.create_array("reflectance", data=values.astype("f4"))
    group.create_array("wavelength", data=np.array([0.4, 0.5, 0.6]), attributes={"units": "um"})
    back = pack_export(tmp_path / "z", tmp_path / "cache")
    assert back.dtype == np.float32
    np.testing.assert_allclose(back.axis.wavelengths_nm, [400, 500, 600])
    expected = values.astype("f4")
    expected[0, :, 2, 3] = 0
    np.testing.assert_array_equal(back.planes([0, 1]), expected)
    assert back.masks([0, 1]).sum() == 49
    assert list(back.table["specimen"]) == ["image_00000", "image_00001"]
    assert back.statistics([0, 1]).classes == {}


@pytest.mark.parametrize(
    ("arrays", "error", "text"),
    [
        ({"cube": (2, 3)}, CatalogueError, "has no array 'reflectance', only cube"),
        (
            {"reflectance": (3, 5, 5), "wavelength": (3,)},
            CatalogueError,
            r"shape \(3, 5, 5\); \(image, wavelength, y, x\)",
        ),
        (
            {"reflectance": (2, 3, 5, 5), "wavelength": (4,)},
            CatalogueError,
            "4 wavelengths for 3 bands",
        ),
        (
            {"reflectance": (2, 3, 5, 5), "wavelength": (3,), "mask": (2, 5, 4)},
            CubeError,
            r"image_0000\d: image \(3, 5, 5\) and mask \(5, 4\)",
        ),
    ],
)
def test_groups_that_do_not_fit_are_told(tmp_path, arrays, error, text):
    group = zarr.open_group(tmp_path / "z", mode="w")
    for name, shape in arrays.items():
        group.create_array(name, data=np.full(shape, 500.0), attributes={"units": "nm"})
    with pytest.raises(error, match=text):
        pack_export(tmp_path / "z", tmp_path / "cache")


def test_zarr_missing_is_told_and_envi_works(store, tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **options):
        if name == "zarr":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"pip install 'hyperspec-sweeps\[zarr\]'"):
        export_store(store, tmp_path / "out", "zarr")
    export_store(store, tmp_path / "out", "envi")


def test_an_export_never_overwrites_and_leaves_no_half(store, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    export_store(store, tmp_path / "there", "envi")  # empty: taken
    with pytest.raises(CatalogueError, match="there exists already; name a new folder"):
        export_store(store, tmp_path / "there", "zarr")
    with pytest.raises(ConfigError, match="format is 'hdf5'; choose envi or zarr"):
        export_store(store, tmp_path / "no", "hdf5")
    real, calls = envi_module.write_envi, []

    def full(*given, **options):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(*given, **options)

    monkeypatch.setattr(envi_module, "write_envi", full)
    with pytest.raises(CatalogueError, match=r"cannot be written: .*No space left"):
        export_store(store, tmp_path / "full", "envi")
    assert not (tmp_path / "full").exists()
    assert not list(tmp_path.glob(".*"))


def test_damaged_exports_are_told(store, tmp_path):
    out = export_store(store, tmp_path / "out", "envi")
    (out / f"{NAMES[0]}_mask.png").unlink()
    with pytest.raises(CatalogueError, match="has no mask image beside it"):
        pack_export(out, tmp_path / "cache2")
    path = out / "export.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "version": 9}))
    with pytest.raises(CatalogueError, match="has version 9, not 1"):
        open_export(out)
    path.write_text("{")
    with pytest.raises(CatalogueError, match="is damaged"):
        open_export(out)
    path.unlink()
    with pytest.raises(CatalogueError, match=r"neither export\.json nor zarr\.json"):
        open_export(out)


def test_files_of_one_stem_keep_apart(tmp_path):
    for suffix in ("bil", "raw"):
        values = np.random.default_rng(len(suffix)).random((7, 6, 6)).astype("f4")
        write_envi(tmp_path / "d" / f"x.{suffix}", values, AXIS, header_suffix=f".{suffix}.hdr")
    settings = PrepareSettings(size=6, mask="none")
    store = pack(scan(tmp_path / "d", labels=NoLabels()), settings, tmp_path / "cache")
    out = export_store(store, tmp_path / "out", "envi")
    assert sorted(path.name for path in out.glob("*.bsq")) == ["x.bil.bsq", "x.raw.bsq"]
    back = pack_export(out, tmp_path / "cache2")
    np.testing.assert_array_equal(back.planes([0, 1]), store.planes([0, 1]))
    with (out / "labels.csv").open() as file:
        assert next(csv.reader(file)) == ["file", "specimen", "view", "date"]


def test_a_second_export_of_the_same_images_writes_no_shard(store, tmp_path):
    out = export_store(store, tmp_path / "out", "envi")
    pack_export(out, tmp_path / "cache2")
    shards = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache2" / "shards").iterdir()}
    shutil.copytree(out, tmp_path / "copy")
    pack_export(tmp_path / "copy", tmp_path / "cache2")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache2" / "shards").iterdir()} == shards
