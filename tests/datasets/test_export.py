"""Stores out to ENVI and Zarr, read there by rasterio, xarray and this package."""

import builtins
import csv
import json

import numpy as np
import pytest
import xarray
from cube_oracle import oracle

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.files import read_header
from hyperspec.cubes.mask_image import read_mask
from hyperspec.datasets import export as envi_module
from hyperspec.datasets.catalogue.labels import CsvLabels, NoLabels, PatternLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.config import FolderData
from hyperspec.datasets.export import export_store
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.store.packed import pack
from hyperspec.spectra import SpectralAxis
from hyperspec.training.data import open_source
from hyperspec.utils.errors import CatalogueError, ConfigError

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


def test_an_envi_export_is_a_folder_of_cubes(store, tmp_path):
    """Its images, masks and labels come back as they were, through the config's own keys."""
    out = export_store(store, tmp_path / "out", "envi")
    data = FolderData(
        root=str(out), labels=CsvLabels(column="label", within="label"), pattern="*.bsq", size=9,
        mask="image", crop_margin=None, cache_dir=str(tmp_path / "second"),
    )  # fmt: skip
    back = open_source(data)
    rows = range(len(store))
    assert (back.axis, back.size) == (store.axis, store.size)
    # Values were rounded when they were packed first, so that float16 holds them again.
    rounded = store.planes(rows).astype("f2")
    np.testing.assert_array_equal(back.planes(rows), rounded)
    np.testing.assert_array_equal(back.masks(rows), store.masks(rows))
    for name in ("label", "specimen", "view", "date"):
        assert list(back.table[name]) == list(store.table[name])
    # All that is not in it: the cubes' own resolution, of which the first statistics were.
    planes, masks = back.planes(rows), back.masks(rows)
    pixels = np.concatenate([p[:, m].T for p, m in zip(planes, masks, strict=True)])
    statistics = back.statistics(rows)
    assert statistics.count == len(pixels)
    np.testing.assert_allclose(statistics.mean, pixels.mean(0, dtype=np.float64), rtol=1e-3)
    assert sorted(statistics.classes) == ["A b", "C d"]


def test_envi_files_as_others_read_them(store, tmp_path):
    out = export_store(store, tmp_path / "out", "envi")
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.bsq"))
    assert files == [f"{name}.bsq" for name in NAMES]
    for row, name in enumerate(files):
        header = read_header(out / name)
        assert (header.interleave, str(header.dtype)) == ("bsq", "float32")
        np.testing.assert_array_equal(oracle(out / name), store.image(row).astype("f4"))
        mask = out / name.replace(".bsq", "_mask.png")
        np.testing.assert_array_equal(read_mask(mask, (9, 9)).specimen, store.masks([row])[0])
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


def test_zarr_of_raw_counts_does_not_call_them_reflectance(tmp_path):
    values = np.random.default_rng(0).integers(200, 4096, (7, 20, 24)).astype(np.uint16)
    write_envi(tmp_path / "data" / "a.bil", values, AXIS)
    raw = pack(scan(tmp_path / "data", labels=NoLabels()), PrepareSettings(), tmp_path / "cache")
    planes, _ = everything(raw)
    out = export_store(raw, tmp_path / "out", "zarr")
    with xarray.open_zarr(out, consolidated=False) as data:
        assert set(data.data_vars) == {"stored_value", "mask", "fwhm"}
        assert data.stored_value.attrs["long_name"] == "stored value, 0 outside the mask"
        np.testing.assert_array_equal(data.stored_value, planes)


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


def test_files_of_one_stem_keep_apart(tmp_path):
    for suffix in ("bil", "raw"):
        values = np.random.default_rng(len(suffix)).random((7, 6, 6)).astype("f4")
        write_envi(tmp_path / "d" / f"x.{suffix}", values, AXIS, header_suffix=f".{suffix}.hdr")
    settings = PrepareSettings(size=6, mask="none")
    store = pack(scan(tmp_path / "d", labels=NoLabels()), settings, tmp_path / "cache")
    out = export_store(store, tmp_path / "out", "envi")
    assert sorted(path.name for path in out.glob("*.bsq")) == ["x.bil.bsq", "x.raw.bsq"]
    np.testing.assert_array_equal(oracle(out / "x.raw.bsq"), store.image(1).astype("f4"))
    with (out / "labels.csv").open() as file:
        assert next(csv.reader(file)) == ["file", "specimen", "view", "date"]


def test_files_get_names_that_every_system_takes_and_tells_apart():
    files = ["a:b.bil", "sub/CON.bil", "sub/x.bil", "SUB/X.bil", "y.bil", "y.img"]
    found = ["a_b.bsq", "sub/_CON.bsq", "sub/x.bsq", "SUB/X-2.bsq", "y.bil.bsq", "y.img.bsq"]
    assert envi_module._names(files) == found
