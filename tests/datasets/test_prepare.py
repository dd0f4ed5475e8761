import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.datasets.preparation.preparation import PrepareSettings
from hyperspec.datasets.preparation.prepare import Preparer, _spectra, prepare
from hyperspec.datasets.preparation.resample import Box, resample, square_box, weights
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError, ConfigError, CubeError

AXIS = SpectralAxis.linear(400, 700, 5)


def box_mean_by_loops(image, mask, box, size):
    """Area-weighted mean over foreground pixels, one output pixel at a time (downwards only)."""
    scale = box.side / size
    result = np.zeros((size, size))
    kept = np.zeros((size, size), bool)
    for i in range(size):
        for j in range(size):
            total = weight = 0.0
            for y in range(image.shape[0]):
                for x in range(image.shape[1]):
                    tall = min(y + 1, box.row + (i + 1) * scale) - max(y, box.row + i * scale)
                    wide = min(x + 1, box.col + (j + 1) * scale) - max(x, box.col + j * scale)
                    if tall > 0 and wide > 0 and mask[y, x]:
                        total += tall * wide * float(image[y, x])
                        weight += tall * wide
            if weight / scale**2 >= 0.5 - 1e-4:
                result[i, j], kept[i, j] = total / weight, True
    return result, kept


@pytest.mark.parametrize(
    ("box", "size"), [(Box(1, 2, 9), 4), (Box(-2, -1, 14), 5), (Box(0, 0, 8), 8), (Box(3, 3, 7), 2)]
)
def test_resample_equals_the_area_weighted_mean_of_foreground_pixels(box, size):
    rng = np.random.default_rng(2)
    image = rng.uniform(0, 1, (3, 11, 12)).astype(np.float32)
    mask = rng.random((11, 12)) < 0.8
    image[:, ~mask] = np.nan  # never looked at
    result, kept = resample(image, mask, box, size)
    for plane, got in zip(image, result, strict=True):
        expected, expected_mask = box_mean_by_loops(plane, mask, box, size)
        np.testing.assert_array_equal(kept, expected_mask)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_background_does_not_bleed_into_the_specimen():
    mask = np.zeros((20, 20), bool)
    mask[3:16, 4:18] = True
    image = np.where(mask, 0.3, 9.0).astype(np.float32)[None]
    result, kept = resample(image, mask, Box(2, 2, 17), 6)
    np.testing.assert_allclose(result[0][kept], 0.3, rtol=1e-6)
    assert (result[0][~kept] == 0).all()


def test_resize_is_free_of_aliasing():
    # Stripes of one pixel: picking every fourth pixel gives 0 or 1, averaging gives 0.5.
    stripes = np.tile([0.0, 1.0], 32).astype(np.float32)
    image = np.broadcast_to(stripes, (1, 64, 64))
    result, _ = resample(image, np.ones((64, 64), bool), Box(0, 0, 64), 16)
    np.testing.assert_allclose(result, 0.5, rtol=1e-6)


def test_same_size_is_the_crop_itself():
    image = np.random.default_rng(0).uniform(0, 1, (2, 9, 9)).astype(np.float32)
    result, kept = resample(image, np.ones((9, 9), bool), Box(2, 1, 6), 6)
    np.testing.assert_allclose(result, image[:, 2:8, 1:7], rtol=1e-6)
    assert kept.all()


def test_enlarging_interpolates_linearly_between_pixel_centres():
    ramp = np.broadcast_to(np.arange(4, dtype=np.float32), (1, 4, 4))
    result, _ = resample(ramp, np.ones((4, 4), bool), Box(0, 0, 4), 8)
    centres = (np.arange(8) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(result[0, 3], np.clip(centres, 0, 3), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(1, 40), st.integers(1, 40))
def test_weights_sum_to_one_inside_the_frame(first, side, size):
    rows = weights(first, side, size, first + side + 3)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-5)
    assert (rows >= 0).all()
    assert not rows[:, :first].any()
    assert not rows[:, first + side :].any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20),
       st.floats(0, 1))  # fmt: skip
def test_square_box_holds_the_specimen_with_its_margin_on_every_side(row, col, tall, wide, margin):
    mask = np.zeros((40, 40), bool)
    mask[row : row + tall, col : col + wide] = True
    box = square_box(mask, margin)
    longer = max(tall, wide)
    assert longer * (1 + 2 * margin) <= box.side + 1e-9 <= longer * (1 + 2 * margin) + 2 + 1e-6
    before = row - box.row, col - box.col
    after = box.row + box.side - row - tall, box.col + box.side - col - wide
    assert min(*before, *after) >= margin * longer - 1e-9
    assert abs(before[0] - after[0]) <= 1
    assert abs(before[1] - after[1]) <= 1


def make_folder(root, *, bands=5, noise=0.01):
    """A bright disc on a dark ground, raw counts of a sensor with an uneven response."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:30, :36]
    disc = (y - 14.5) ** 2 + (x - 20.5) ** 2 < 10**2
    spectrum = np.linspace(0.3, 0.8, bands)[:, None, None]
    reflectance = np.where(disc, spectrum, 0.05) + rng.normal(0, noise, (bands, 30, 36))
    gain = rng.uniform(1000, 3000, (bands, 1, 36))
    offset = rng.uniform(50, 100, (bands, 1, 36))
    options = {"dtype": np.float32}
    write_envi(root / "a.bil", offset + gain * reflectance, AXIS, **options)
    write_envi(root / "white.bil", np.repeat(offset + gain, 3, axis=1), AXIS, **options)
    write_envi(root / "dark.bil", np.repeat(offset, 2, axis=1), AXIS, **options)
    return reflectance, disc


def test_prepared_image_is_calibrated_masked_cropped_and_resized(tmp_path):
    reflectance, disc = make_folder(tmp_path)
    catalogue = scan(tmp_path)
    settings = PrepareSettings(size=12, crop_margin=0.1)
    result = prepare(catalogue.records[0], catalogue, settings)
    box = square_box(disc, 0.1)
    assert box == Box(3, 9, 24)
    for band in range(5):
        expected, mask = box_mean_by_loops(reflectance[band], disc, box, 12)
        np.testing.assert_array_equal(result.mask, mask)
        np.testing.assert_allclose(result.image[band], expected, rtol=1e-4, atol=1e-6)
    spectra = reflectance[:, disc].T
    assert result.statistics.count == disc.sum()
    np.testing.assert_allclose(result.statistics.mean, spectra.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        result.statistics.covariance, np.cov(spectra.T), rtol=1e-3, atol=1e-8
    )


def test_rendering_some_bands_equals_those_of_the_whole(tmp_path):
    make_folder(tmp_path)
    catalogue = scan(tmp_path)
    preparer = Preparer(catalogue, PrepareSettings(size=12))
    record = catalogue.records[0]
    whole = preparer.prepare(record)
    frame = preparer.locate(record)
    image, mask = preparer.render(record, frame, [3, 0])
    np.testing.assert_array_equal(image, whole.image[[3, 0]])
    np.testing.assert_array_equal(mask, whole.mask)
    assert preparer.statistics(record, frame).hash == whole.statistics.hash


def test_nodata_pixels_and_dead_elements_are_masked_and_filled_with_zero(tmp_path):
    make_folder(tmp_path)
    values = np.full((5, 8, 8), 0.5, np.float32)
    values[1, 2, 3] = -1
    write_envi(tmp_path / "n/a.bil", values, AXIS, extra={"data ignore value": "-1"})
    catalogue = scan(tmp_path / "n")
    result = prepare(
        catalogue.records[0], catalogue, PrepareSettings(size=8, mask="none", dtype="float32")
    )
    expected = np.ones((8, 8), bool)
    expected[2, 3] = False
    np.testing.assert_array_equal(result.mask, expected)
    np.testing.assert_array_equal(result.image, np.broadcast_to(expected * 0.5, (5, 8, 8)))
    assert result.statistics.count == 63


def test_without_calibration_counts_stay_counts(tmp_path):
    make_folder(tmp_path)
    catalogue = scan(tmp_path)
    settings = PrepareSettings(size=8, calibrate="none")
    raw = prepare(catalogue.records[0], catalogue, settings)
    assert raw.image.max() > 200
    assert Preparer(catalogue, settings).key(catalogue.records[0]) != Preparer(
        catalogue, dataclasses.replace(settings, calibrate="auto")
    ).key(catalogue.records[0])


def test_one_frame_without_the_other_is_an_error_with_the_way_out(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "dark.bil").unlink()
    (tmp_path / "dark.hdr").unlink()
    catalogue = scan(tmp_path)
    with pytest.raises(CatalogueError, match=r"has a white frame .* but no dark frame.*data.dark"):
        prepare(catalogue.records[0], catalogue, PrepareSettings())


def test_frames_of_another_width_are_an_error_that_names_both(tmp_path):
    make_folder(tmp_path)
    write_envi(tmp_path / "b.bil", np.ones((5, 8, 9), np.float32), AXIS)
    catalogue = scan(tmp_path)
    with pytest.raises(
        CatalogueError, match=r"b.bil: has 5 bands and 9 samples, but .*white.bil has 5 and 36"
    ):
        Preparer(catalogue, PrepareSettings())


def test_errors_name_the_cube(tmp_path):
    write_envi(tmp_path / "dead.bil", np.full((5, 8, 8), np.nan, np.float32), AXIS)
    counts = np.full((5, 8, 8), 65535, np.uint16)
    write_envi(tmp_path / "raw.bil", counts, AXIS)
    thin = np.zeros((5, 40, 40), np.float32)
    thin[:, 20, :] = thin[:, :, 20] = 1
    write_envi(tmp_path / "thin.bil", thin, AXIS)
    catalogue = scan(tmp_path)
    dead, raw, cross = catalogue.records
    with pytest.raises(CubeError, match=r"dead.bil: every pixel has a good band without a value"):
        prepare(dead, catalogue, PrepareSettings())
    with pytest.raises(CubeError, match=r"raw.bil: a value of 65535 does not fit data.dtype=float"):
        prepare(raw, catalogue, PrepareSettings())
    wide = prepare(raw, catalogue, PrepareSettings(dtype="float32"))
    assert wide.image.max() == pytest.approx(65535)
    with pytest.raises(CubeError, match=r"thin.bil: the specimen has 79 pixels, too thin"):
        prepare(cross, catalogue, PrepareSettings(size=4))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 0}, r"data.size is 0; it must be a number of pixels, at least 1"),
        ({"crop_margin": -0.1}, r"data.crop_margin is -0.1; it must be between 0 and 1"),
        ({"white_reflectance": 0}, r"data.white_reflectance is 0.0; it must be above 0"),
        ({"dtype": "uint8"}, r"data.dtype is 'uint8'; choose one of float16, float32"),
        ({"calibrate": "yes"}, r"data.calibrate is 'yes'; choose one of auto, always, never, none"),
    ],
)
def test_settings_are_checked(options, text):
    with pytest.raises(ConfigError, match=text):
        PrepareSettings(**options)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("blocks", [1, 12])
def test_spectra_are_those_of_the_foreground_in_order(share, blocks):
    """Speckles, runs and whole frames, each by its own way."""
    rng = np.random.default_rng(int(100 * share) + blocks)
    image = rng.random((5, 24, 36), np.float32)
    foreground = np.kron(rng.random((24, 36 // blocks)) < share, np.ones((1, blocks))) > 0
    foreground[0, 0] = True
    got = _spectra(image, foreground)
    np.testing.assert_array_equal(got, image[:, foreground].T)
    assert got.T.flags.c_contiguous
