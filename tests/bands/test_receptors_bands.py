"""Receptors as channels: closed forms, what the sensor covers, and who can tell what."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from tolerance import rounding

from hyperspec.bands import Full, Receptors, Rgb
from hyperspec.bands.receptors import band_weights, covered_shares
from hyperspec.evaluation.controls.classifiers import fit_lda
from hyperspec.spectra import SpectralAxis, mission_axis
from hyperspec.spectra.band_projection import BandProjection, selection_from_dict
from hyperspec.spectra.eyes import EYES
from hyperspec.spectra.light import photons
from hyperspec.spectra.photoreceptors import GRID_NM
from hyperspec.testing.synthetic.design import Window, build_design
from hyperspec.testing.synthetic.scene import Optics, Traits, render
from hyperspec.testing.synthetic.sensor import noise_profile
from hyperspec.utils.errors import BandError


@pytest.mark.parametrize("eye", EYES)
def test_an_adapted_eye_sees_white_as_one_and_straight_spectra_exactly(eye):
    axis = SpectralAxis(np.append(np.arange(300, 800, 35.0), [310, 610.5, 800]))
    made = Receptors(eye).select(axis)
    np.testing.assert_allclose(made.matrix.sum(axis=1), 1)
    # Reflectance that rises straight with nm: the integral on the grid is exact.
    light = EYES[eye].sensitivities().curves * photons("d65", GRID_NM)
    expected = (light * (0.2 + GRID_NM / 1000)).sum(axis=1) / light.sum(axis=1)
    spectrum = 0.2 + made.bands_nm / 1000
    np.testing.assert_allclose(made.matrix @ spectrum, expected, rtol=1e-12)
    np.testing.assert_allclose(covered_shares(axis, light), 1)


def test_channels_integrate_a_smooth_spectrum_as_the_grid_does():
    nm = mission_axis().wavelengths_nm
    made = Receptors("human").select(mission_axis())
    light = EYES["human"].sensitivities().curves * photons("d65", GRID_NM)
    inside = (nm[0] <= GRID_NM) & (nm[-1] >= GRID_NM)

    def smooth(at):
        return 0.4 + 0.3 * np.sin(at / 40)

    expected = (light * smooth(GRID_NM))[:, inside].sum(axis=1) / light[:, inside].sum(axis=1)
    np.testing.assert_allclose(made.matrix @ smooth(made.bands_nm), expected, atol=1e-4)


def test_without_adaptation_white_has_the_colour_of_the_light():
    adapted = Receptors("human").select(mission_axis())
    for light, lowest in (("flat", 1.0), ("d65", 0.87), ("forest_shade", 0.46)):
        made = Receptors("human", illuminant=light, von_kries=False).select(mission_axis())
        white = made.matrix.sum(axis=1)
        assert white.max() == pytest.approx(1)
        assert white.min() == pytest.approx(lowest, abs=0.01)  # two digits above
        if light == "d65":
            np.testing.assert_allclose(made.matrix / white[:, None], adapted.matrix, atol=1e-12)


def test_channel_order_and_bad_bands_are_minded():
    axis = SpectralAxis.linear(350, 750, 81)
    made = Receptors("human").select(axis)
    turned = Receptors("human").select(axis.subset(np.arange(81)[::-1]))
    assert list(turned.indices) == sorted(turned.indices)
    near = rounding(2 * 81, made.matrix)  # rows are divided by their sums
    np.testing.assert_allclose(turned.matrix[:, ::-1], made.matrix, atol=near)
    bad = SpectralAxis(axis.wavelengths_nm, good=np.arange(81) != 40)
    assert 40 not in Receptors("human").select(bad).indices
    twins = SpectralAxis(np.repeat(axis.wavelengths_nm, 2))
    np.testing.assert_allclose(Receptors("human").select(twins).matrix, made.matrix, atol=near)


def test_the_share_is_that_of_the_area_within_the_axis(caplog):
    caplog.set_level(logging.INFO)
    made = Receptors("bluetit").select(mission_axis())
    curve = EYES["bluetit"].sensitivities().curves[0]
    expected = curve[mission_axis().range_nm[0] <= GRID_NM].sum() / curve.sum()
    assert made.params["covered"]["UVS"] == pytest.approx(expected, abs=1e-4)
    assert made.params["covered"]["LWS"] == pytest.approx(1, abs=0.01)
    assert (
        "the sensor covers of the receptors of bands.eye=bluetit: UVS 78%, SWS 100%" in caplog.text
    )


def test_a_wide_gap_is_not_covered():
    nm = np.concatenate([np.arange(350, 500, 5), np.arange(600, 800, 5)])
    shares = covered_shares(SpectralAxis(nm), EYES["human"].sensitivities().curves)
    assert shares[0] > 0.9
    assert shares[1] < 0.3
    order, weights = band_weights(SpectralAxis(nm), np.ones((1, len(GRID_NM))))
    # 350 to 495 and 601 to 795 nm: 600 itself is the end of the gap.
    assert weights.sum() == 146 + 195
    assert len(order) == len(nm)


def test_too_little_cover_names_receptor_share_axis_and_way_out():
    with pytest.raises(
        BandError,
        match=r"The sensor's axis \(408 good bands, 348\.4-809\.6 nm\) covers 34% of the "
        r"sensitivity of receptor 'UV' of bands\.eye=honeybee, which peaks at 342 nm: less than "
        r"bands\.min_share=0\.5\. Take another bands\.eye, or lower",
    ):
        Receptors("honeybee").select(mission_axis())
    assert len(Receptors("honeybee", min_share=0.3).select(mission_axis())) == 3
    with pytest.raises(BandError, match=r"\(1 good bands, .* covers 0% of"):
        Receptors("human").select(SpectralAxis(np.array([550.0])))
    with pytest.raises(BandError, match="has no light where receptor 'S'"):
        Receptors("human", min_share=0).select(SpectralAxis.linear(650, 750, 20))


def test_options_outside_their_range_are_refused():
    with pytest.raises(BandError, match=r"bands\.eye is 'cat'; give average_uvs, .* or human"):
        Receptors("cat")
    with pytest.raises(BandError, match=r"bands\.min_share is 1\.5; give a share from 0 to 1"):
        Receptors(min_share=1.5)
    with pytest.raises(BandError, match="All 5 bands of the axis are marked bad"):
        Receptors().select(SpectralAxis(np.arange(400.0, 405), good=np.zeros(5, bool)))


def test_receptors_of_ones_own_travel_without_the_folder_they_came_from(tmp_path):
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "fish.csv"
        file.write_text("wavelength_nm,short,long\n350,0,0\n450,1,0\n550,0,1\n650,0,0\n")
        names.append(str(file))
    one, other = (Receptors(file=name).select(mission_axis()) for name in names)
    assert one == other
    assert (one.strategy, one.params["file"]) == ("receptors", "fish.csv")
    assert Receptors("human").select(mission_axis()).strategy == "receptors/human"
    np.testing.assert_allclose(
        one.wavelengths_nm, [450, 550], atol=12
    )  # the light's slope moves them
    again = selection_from_dict(json.loads(json.dumps(one.to_dict())))
    assert isinstance(again, BandProjection)
    assert again == one


def specimens(per_species=12, size=12):
    """Return mean spectra and what tells them apart: a broad loss below 400 nm, a window at 700."""
    axis, design = mission_axis(), build_design("planted")
    windows = (Window("uv", 372.0, 50.0, 1.0), design.windows[1])  # 347 to 397 nm
    optics = Optics(replace(design, windows=windows), axis.wavelengths_nm)
    rng = np.random.default_rng(0)
    spectra, found = [], []
    for species in range(8):
        for _ in range(per_species):
            factors = design.factors(species, rng)
            traits = Traits.draw(design, factors, rng)
            image, inside = render(traits, optics, size, rng, dorsal=True)
            pixels = image[inside > 0.5]
            noise = rng.normal(0, noise_profile(axis.wavelengths_nm) / np.sqrt(len(pixels)))
            spectra.append(pixels.mean(axis=0) + noise)
            found.append(factors)
    return np.array(spectra), found, np.tile(np.arange(per_species) % 2, 8)


@pytest.fixture(scope="module")
def told():
    """Return how often a linear probe on an eye's channels names the label of held-out halves."""
    spectra, factors, fold = specimens()

    def score(strategy, label):
        chosen = strategy.select(mission_axis())
        seen = spectra[:, list(chosen.indices)]
        if isinstance(chosen, BandProjection):
            seen = seen @ chosen.matrix.T
        features = np.log(np.maximum(seen, 1e-3))  # receptors answer to ratios
        labels = np.array([str(getattr(one, label)) for one in factors])
        right = 0
        for half in (0, 1):
            predict = fit_lda(features[fold != half], labels[fold != half].tolist())
            right += int((predict(features[fold == half]) == labels[fold == half]).sum())
        return right / len(labels)

    return score


# 96 specimens: a coin reaches 0.64 in 5 of 1000 cases, 0.66 in 1 of 1000.
CHANCE = 0.66


def test_below_400_nm_an_ultraviolet_sensitive_bird_tells_what_we_and_rgb_do_not(told):
    assert told(Full(), "uv") > 0.95
    for eye in ("average_uvs", "bluetit", "papilio"):
        assert told(Receptors(eye), "uv") > 0.8, eye
    for blind in (Receptors("human"), Rgb(), Receptors("average_vs"), Receptors("peafowl")):
        assert told(blind, "uv") < CHANCE, blind


def test_at_700_nm_nobody_but_the_full_spectrum_tells(told):
    assert told(Full(), "red") > 0.95
    for eye in EYES:
        assert told(Receptors(eye, min_share=0), "red") < CHANCE, eye
    assert told(Rgb(), "red") < CHANCE


def test_a_spectrum_with_a_corner_at_any_band_is_integrated_exactly():
    axis = SpectralAxis.linear(300, 800, 16)
    made = Receptors("human").select(axis)
    light = EYES["human"].sensitivities().curves * photons("d65", GRID_NM)
    for corner in axis.wavelengths_nm:
        expected = (light * np.abs(GRID_NM - corner)).sum(axis=1) / light.sum(axis=1)
        found = made.matrix @ np.abs(made.bands_nm - corner)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
