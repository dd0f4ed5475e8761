import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerance import rounding

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import TileSettings
from hyperspec.datasets.store.tiles import TileSource, blocks, windows
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError, ConfigError

AXIS = SpectralAxis.linear(400, 700, 5)


def painted(shape, areas):
    count = np.zeros(shape, int)
    for row, col, height, width in areas:
        count[row : row + height, col : col + width] += 1
    return count


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 90), st.integers(4, 90), st.integers(1, 24), st.data())
def test_blocks_partition_the_scene_and_tiles_cover_their_block(height, width, tile, data):
    stride = data.draw(st.integers(1, tile))
    areas = blocks(height, width, tile)
    assert len(areas) >= 4
    assert (painted((height, width), areas) == 1).all()
    for area in areas:
        laid = windows(area, tile, stride)
        count = painted((height, width), laid)
        inside = painted((height, width), [area]) == 1
        assert (count[inside] >= 1).all()
        assert (count[~inside] == 0).all()
        assert all(w.height == min(tile, area.height) for w in laid)


def test_large_scene_has_many_blocks_of_two_tiles():
    areas = blocks(128, 200, 16)
    assert len(areas) == 4 * 6
    assert len(windows(areas[0], 16, 8)) == 3 * 4  # rows 0, 8, 16; samples 0, 8, 16, 17


@pytest.fixture
def scene(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.uniform(0.1, 0.9, (5, 31, 43)).astype(np.float32)
    values[:, 3, 5] = np.nan
    root = tmp_path / "scene"
    write_envi(root / "leaf.bil", values, AXIS)
    return root, values


def source(root, **options):
    chosen = {"tile": 16, "stride": 8, "mask": "none", "dtype": "float32", **options}
    return TileSource(scan(root), TileSettings(**chosen))


def test_planes_are_the_scene_at_the_place_in_the_table(scene):
    root, values = scene
    tiles = source(root)
    rows, bands = [3, 0, len(tiles) - 1], [4, 1]
    planes, masks = tiles.planes(rows, bands), tiles.masks(rows)
    assert planes.shape == (3, 2, 16, 16)
    edges = np.linspace(0, 43, 5).astype(int)
    for place, row in enumerate(rows):
        entry = tiles.table.iloc[row]
        expected = np.zeros((2, 16, 16), np.float32)
        visible = np.zeros((16, 16), bool)
        for y, x in itertools.product(range(16), range(16)):
            line, sample = entry["row"] + y, entry["col"] + x
            block = np.searchsorted(edges, sample, side="right") - 1
            if line < 31 and sample < 43 and block == entry["block"]:
                pixel = values[bands, line, sample]
                visible[y, x] = np.isfinite(pixel).all()
                expected[:, y, x] = np.nan_to_num(pixel)
        np.testing.assert_array_equal(masks[place], visible)
        np.testing.assert_array_equal(planes[place], expected)


def test_no_pixel_is_in_two_specimens(scene):
    # Each pixel's value is unique, so a shared value is a shared pixel.
    root, values = scene
    assert np.unique(values[0][np.isfinite(values[0])]).size == 31 * 43 - 1
    tiles = source(root)
    groups = {}
    for row, specimen in enumerate(tiles.table["specimen"]):
        seen = tiles.planes([row], [0])[0, 0][tiles.masks([row])[0]]
        groups.setdefault(specimen, set()).update(seen.tolist())
    assert list(groups) == ["leaf#0", "leaf#1", "leaf#2", "leaf#3"]
    for one, other in itertools.combinations(groups.values(), 2):
        assert not one & other
    assert sum(map(len, groups.values())) == 31 * 43 - 1  # and none is left out


def test_statistics_count_each_pixel_once_and_are_those_of_the_rows(scene):
    root, values = scene
    tiles = source(root)
    whole = tiles.statistics(range(len(tiles)))
    spectra = values[:, np.isfinite(values[0])].T.astype(np.float64)
    assert whole.count == len(spectra)
    np.testing.assert_allclose(whole.mean, spectra.mean(axis=0), rtol=1e-12)
    atol = rounding(len(spectra), np.cov(spectra.T))
    np.testing.assert_allclose(whole.covariance, np.cov(spectra.T), rtol=0, atol=atol)
    first = np.flatnonzero(tiles.table["block"] == 0)
    some = tiles.statistics(first, by=["a"] * len(first))
    assert some.count == 31 * 10 - 1
    assert list(some.classes) == ["a"]


def test_hash_follows_the_cut(scene):
    root, _ = scene
    assert source(root).hash == source(root).hash
    assert source(root).hash != source(root, stride=4).hash


def test_bad_band_without_values_is_zero(tmp_path):
    values = np.random.default_rng(1).uniform(0.1, 0.9, (5, 40, 40)).astype(np.float32)
    values[2] = np.nan
    good = np.array([1, 1, 0, 1, 1], bool)
    write_envi(tmp_path / "x.bil", values, SpectralAxis(AXIS.wavelengths_nm, None, good))
    tiles = source(tmp_path)
    planes = tiles.planes([0])
    np.testing.assert_array_equal(planes[0, 2], np.zeros((16, 16)))
    np.testing.assert_array_equal(planes[0, 3], values[3, :16, :16] * tiles.masks([0])[0])


def test_errors_name_the_option(scene):
    root, _ = scene
    with pytest.raises(CatalogueError, match=r"No tile of 64x64 pixels .*31 lines and 43 samples"):
        source(root, tile=64)
    with pytest.raises(ConfigError, match=r"data.stride is 17; .*data.tile \(16\)"):
        TileSettings(tile=16, stride=17)
    with pytest.raises(ConfigError, match=r"data.tile is 0"):
        TileSettings(tile=0, stride=1)
    with pytest.raises(ConfigError, match=r"data.mask is 'x'; choose one of auto, image"):
        TileSettings(mask="x")


@pytest.mark.real_data
def test_real_line_scan(real_data):
    root = real_data / "corn_kernel_vnir"
    catalogue = scan(root)
    (record,) = catalogue.records
    assert record.shape == (580, 31, 43)
    tiles = TileSource(catalogue, TileSettings(mask="none", tile=16, stride=8, dtype="float32"))
    assert tiles.table["specimen"].nunique() == 4
    assert len(tiles) == 12
    raw, white, dark = (
        np.fromfile(root / name, "<u2").reshape(31, 580, 43).transpose(1, 0, 2).astype(np.float64)
        for name in (
            "4-22-22_right_same_B73_top_00.raw",
            "white_reference_crop.raw",
            "dark_reference_crop.raw",
        )
    )
    level = dark.mean(axis=1, keepdims=True)
    span = white.mean(axis=1, keepdims=True) - level
    reflectance = (raw - level) / span
    entry = tiles.table.iloc[4]
    visible = tiles.masks([4])[0]
    width = visible.any(axis=0).sum()
    expected = reflectance[300, entry.row : entry.row + 16, entry.col : entry.col + width]
    plane = tiles.planes([4], [300])[0, 0, :, :width]
    np.testing.assert_allclose(plane, expected, rtol=1e-4, atol=1e-6)
    assert 0 < np.median(plane) < 1.5
