import numpy as np
import pytest

from hyperspec.spectra.calibration import Calibration
from hyperspec.spectra.white import judge_white
from hyperspec.utils.errors import CubeError


def from_frames(white, dark, white_reflectance=1.0, **options):
    level = dark.astype(np.float64).mean(axis=1)
    good = np.ones(len(white), bool)
    values = white.astype(np.float32)
    judged = judge_white(lambda bands: values[bands], white.shape, level, good)
    return Calibration.from_white(judged, level, white_reflectance=white_reflectance, **options)


def loops(raw, white, dark):
    """The definition, one pixel at a time."""
    result = np.full(raw.shape, np.nan)
    for c in range(raw.shape[0]):
        for w in range(raw.shape[2]):
            low = np.mean([float(v) for v in dark[c, :, w]])
            high = np.mean([float(v) for v in white[c, :, w]])
            if high > low:
                for h in range(raw.shape[1]):
                    result[c, h, w] = (float(raw[c, h, w]) - low) / (high - low)
    return result


@pytest.fixture
def frames():
    rng = np.random.default_rng(3)
    raw = rng.integers(100, 3000, (5, 7, 4)).astype(np.uint16)
    white = rng.integers(3000, 4000, (5, 3, 4)).astype(np.uint16)  # fewer lines than the scene
    dark = rng.integers(80, 100, (5, 2, 4)).astype(np.uint16)
    return raw, white, dark


def test_equals_the_definition_written_as_loops(frames):
    raw, white, dark = frames
    result = from_frames(white, dark).apply(raw.astype(np.float32))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, loops(raw, white, dark), rtol=2e-6)


def test_band_subset_and_window_equal_the_slice_of_the_whole(frames):
    raw, white, dark = frames
    calibration = from_frames(white, dark)
    whole = calibration.apply(raw.astype(np.float32))
    values = raw.astype(np.float32)
    assert calibration.apply(values, out=values) is values
    np.testing.assert_array_equal(values, whole)
    part = calibration.apply(raw[[4, 1], 2:5, 1:3].astype(np.float32), [4, 1], first_sample=1)
    np.testing.assert_array_equal(part, whole[[4, 1], 2:5, 1:3])


def test_zero_and_negative_denominators_are_nan_and_nothing_else_is(frames):
    raw, white, dark = frames
    white[2, :, 1] = dark[2, 0, 1]
    dark[2, :, 1] = dark[2, 0, 1]
    white[3, :, 0] = 1
    calibration = from_frames(white, dark)
    expected = np.zeros(raw.shape, bool)
    expected[2, :, 1] = expected[3, :, 0] = True
    np.testing.assert_array_equal(np.isnan(calibration.apply(raw.astype(np.float32))), expected)


def test_nan_counts_in_a_frame_are_left_out_of_its_mean(frames):
    raw, white, dark = frames
    spoilt = white.astype(np.float32)
    spoilt[0, 1, 2] = np.nan
    result = from_frames(spoilt, dark).apply(raw.astype(np.float32))
    kept = white[0, [0, 2], 2].mean() - dark[0, :, 2].mean()
    np.testing.assert_allclose(result[0, :, 2], (raw[0, :, 2] - dark[0, :, 2].mean()) / kept, 1e-5)


def test_white_target_of_known_reflectance(frames):
    raw, white, dark = frames
    plain = from_frames(white, dark).apply(raw.astype(np.float32))
    known = from_frames(white, dark, 0.5).apply(raw.astype(np.float32))
    np.testing.assert_allclose(known, plain * 0.5, rtol=1e-6)


def test_a_target_may_have_its_reflectance_by_band(frames):
    raw, white, dark = frames
    by_band = np.linspace(0.5, 0.99, 5)
    plain = from_frames(white, dark).apply(raw.astype(np.float32))
    known = from_frames(white, dark, by_band).apply(raw.astype(np.float32))
    np.testing.assert_allclose(known, plain * by_band[:, None, None], rtol=1e-6)


def test_counts_are_divided_by_their_exposures(frames):
    raw, white, dark = frames
    plain = from_frames(white, dark).apply(raw.astype(np.float32))
    longer = from_frames(white, dark, exposure_ratio=2.5).apply(raw.astype(np.float32))
    np.testing.assert_allclose(longer, plain / 2.5, rtol=1e-6)


def test_refuses_a_scene_wider_than_its_frames(frames):
    calibration = from_frames(frames[1], frames[2])
    with pytest.raises(CubeError, match=r"5 bands and 4 samples.*samples 2 to 5"):
        calibration.apply(np.zeros((5, 3, 4), np.float32), first_sample=2)
