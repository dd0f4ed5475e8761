"""White frames as people take them: what is panel, what is saturated, what is too dark."""

import numpy as np
import pytest

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.white import FULL_SCALES, judge_white, listed
from hyperspec.utils.errors import CubeError

BANDS, LINES, SAMPLES = 6, 40, 200
AXIS = SpectralAxis.linear(400, 700, BANDS)


def frame(scene, light=2000.0, seed=0, noise=3.0, full=4095):
    """Counts above a dark of 100 of a scene of reflectances, (LINES, SAMPLES) or wider."""
    rng = np.random.default_rng(seed)
    counts = 100 + light * np.broadcast_to(scene, (BANDS, LINES, SAMPLES))
    counts = counts * rng.normal(1, 0.01, (1, 1, SAMPLES)) + rng.normal(0, noise, counts.shape)
    return np.rint(np.clip(counts, 0, full)).astype(np.float32)


def judge(values, **options):
    dark = np.full((len(values), values.shape[2]), 100.0)
    good = options.pop("good", np.ones(len(values), bool))
    return judge_white(lambda bands: values[bands], values.shape, dark, good, **options)


def lamp(edge):
    """Fall of a lamp's light from the middle to ``edge`` at both ends of the slit."""
    return 1 - (1 - edge) * np.linspace(-1, 1, SAMPLES) ** 2


@pytest.mark.parametrize("edge", [1.0, 0.6, 0.3])
def test_a_lamp_that_falls_off_is_no_edge_of_the_panel(edge):
    white = judge(frame(lamp(edge)))
    assert white.panel.all()
    assert white.lines_share == 1
    assert not (white.saturated | white.too_dark | white.noisy).any()
    assert white.notes(AXIS.good) == []


@pytest.mark.parametrize("beside", [0.02, 0.3, 0.6])
@pytest.mark.parametrize("blur", [0, 3])
def test_the_edges_of_a_narrow_panel_are_found(beside, blur):
    scene = np.full(SAMPLES, beside)
    scene[50:160] = 1
    if blur:
        kernel = np.ones(2 * blur + 1) / (2 * blur + 1)
        scene = np.convolve(np.pad(scene, blur, "edge"), kernel, "valid")
    panel = judge(frame(scene * lamp(0.7))).panel
    assert panel[50 + blur + 2 : 160 - blur - 2].all()
    assert scene[panel].min() > 0.85
    assert not panel[: 50 - blur].any()
    assert not panel[160 + blur :].any()


def test_a_scratch_is_left_out_and_what_lies_behind_it_is_kept():
    scene = lamp(0.8)
    scene[60:64] *= 0.4
    panel = judge(frame(scene)).panel
    assert not panel[60:64].any()
    assert panel[:58].all()
    assert panel[66:].all()


def test_a_glint_beside_the_panel_is_no_panel():
    scene = np.full(SAMPLES, 0.1)
    scene[40:150] = 1
    scene[170:172] = 1.9
    panel = judge(frame(scene)).panel
    assert panel[42:148].all()
    assert not panel[150:].any()


def test_a_round_panel_is_averaged_over_its_own_pixels():
    y, x = np.mgrid[:LINES, :SAMPLES]
    disc = ((y - 20) / 15) ** 2 + ((x - 100) / 60) ** 2 < 1
    white = judge(frame(np.where(disc, 1.0, 0.05)))
    inside = np.flatnonzero(white.panel)
    assert inside.min() >= 39
    assert inside.max() <= 161
    assert len(inside) > 100
    assert 0.4 < white.lines_share < 0.95
    np.testing.assert_allclose(white.level[:, 60:140].mean(), 2100, rtol=0.01)


def test_a_scan_that_begins_before_the_panel():
    scene = np.ones((LINES, SAMPLES))
    scene[:25] = 0.3
    white = judge(frame(scene))
    assert white.panel.all()
    assert white.lines_share == pytest.approx(15 / 40, abs=0.01)
    np.testing.assert_allclose(white.level.mean(), 2100, rtol=0.01)
    assert "62.5% on the panel's samples" in white.notes(AXIS.good)[0]


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 40), (2, 50, 1), (4, 2, 5)])
def test_small_frames_are_taken_as_they_are(shape):
    values = np.random.default_rng(0).integers(1000, 3000, shape).astype(np.float32)
    white = judge(values)
    assert white.panel.all()
    np.testing.assert_allclose(white.level, values.mean(axis=1), rtol=1e-6)


def test_missing_values_are_left_out_of_the_mean():
    values = frame(1.0)
    values[2, 5, 7] = np.nan
    values[3, :, 9] = np.nan
    white = judge(values)
    kept = np.delete(values[2, :, 7], 5).astype(np.float64)
    assert white.level[2, 7] == pytest.approx(kept.mean(), rel=1e-12)
    assert white.too_dark[3, 9]
    assert white.too_dark.sum() == 1


@pytest.mark.parametrize("full", [255, 1023, 4095, 65520])
def test_full_scales_of_converters(full):
    assert full in FULL_SCALES
    values = frame(lamp(0.3), light=2 * full, noise=0.3, full=full)
    assert (values.max(), judge(values).ceiling) == (full, full)
    saturated = judge(values).saturated
    # Where the noise is cut on one side only, some lines in a hundred reach the full scale.
    assert saturated[:, values.min(axis=(0, 1)) == full].all()
    assert not saturated[:, values.max(axis=(0, 1)) < full].any()


def test_one_value_at_a_full_scale_is_no_saturation():
    values = np.minimum(frame(1.0), 2500)
    values[2, 3, 4] = 4095
    assert judge(values).ceiling is None


def test_a_plateau_is_saturation_but_constant_frames_are_not():
    values = np.minimum(frame(lamp(0.3)), 1777)
    assert judge(values).ceiling == 1777
    assert judge(np.full((BANDS, LINES, SAMPLES), 1777, np.float32)).ceiling is None


def test_scaled_values_are_told_as_stored():
    values = frame(lamp(0.3), light=8000)
    white = judge(np.float32(values) / np.float32(10000), scale=10000.0)
    assert white.ceiling == pytest.approx(4095)
    assert white.saturated.any()


def test_elements_within_the_noise_of_the_dark_are_too_dark():
    values = frame(1.0)
    values[0] = 100 + 2
    values[1] = 100 + 7
    white = judge(values, noise=3.0)
    assert white.too_dark[0].all()
    assert not white.too_dark[1:].any()
    assert white.noisy[1].all()
    assert not white.noisy[2:].any()
    with pytest.raises(CubeError) as error:
        white.check("w.bil", AXIS)
    assert str(error.value).startswith(
        "The white frame w.bil is not above the noise of the dark in band 0 (16.7% of its values). "
        "So it is not fit to divide by at 400.0 to 400.0 nm (up to 100% of"
    )
    # Bands that are marked bad are not looked at.
    good = AXIS.good.copy()
    good[0] = False
    judge(values, noise=3.0, good=good).check(
        "w.bil", SpectralAxis(AXIS.wavelengths_nm, None, good)
    )


def test_indices_are_listed_as_ranges():
    assert listed("band", [3]) == "band 3"
    assert listed("band", [0, 1, 2, 7, 9, 10]) == "bands 0-2, 7, 9-10"
    assert listed("line", range(0, 40, 2), limit=2) == "lines 0, 2 and 18 more"
