"""The variant whose species differ only in which scales have which window."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hyperspec.testing.synthetic import spots_oracle
from hyperspec.testing.synthetic.design import Factors, build_design
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.mosaic import window_scales
from hyperspec.testing.synthetic.scene import Optics, Traits, render
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.testing.synthetic.spots_oracle import NUM_TEST, READERS, spots_accuracies
from hyperspec.testing.synthetic.truth import uniform_indices

AXIS = SynthSettings(num_bands=102).axis


def test_each_window_lies_in_half_of_the_light() -> None:
    rng = np.random.default_rng(0)
    field, light = rng.normal(size=900), [rng.uniform(0.1, 1, 900) for _ in range(2)]
    for together in (True, False):
        factors = Factors("pterin", True, True, together, "rings")
        scales = window_scales(field, factors, light)
        for has, weights in zip(scales, light, strict=True):
            assert weights[has].sum() / weights.sum() == pytest.approx(0.5, abs=1 / 900)
        same = float((scales[0] == scales[1]).mean())
        # Pixels between the two medians have one window only, whatever the species.
        assert same > 0.9 if together else same < 0.1


def test_the_same_mean_spectrum_whichever_scales_have_the_windows() -> None:
    """One specimen in all four ways: bands by themselves do not tell them apart."""
    optics = Optics(build_design("spots"), AXIS.wavelengths_nm)
    means, spreads, pairs = [], [], []
    at = [AXIS.nearest(nm) for nm in (373.0, 700.0)]
    beside = [AXIS.nearest(nm) for nm in (395.0, 720.0)]
    for together in (True, False):
        for layout in ("rings", "rays"):
            factors = Factors("pterin", True, True, together, layout)
            traits = Traits.draw(optics.design, factors, np.random.default_rng(1))
            image, coverage = render(traits, optics, 48, np.random.default_rng(2), dorsal=True)
            inside = image[coverage > 0]
            means.append(inside.mean(0))
            spreads.append(inside.std(0))
            contrast = np.log(inside[:, at] / inside[:, beside])
            pairs.append(np.corrcoef(contrast.T)[0, 1])
    # Half of the light is halved to within the brightest pixel's share; glints are the same.
    np.testing.assert_allclose(means, np.broadcast_to(means[0], (4, 102)), rtol=0.01)
    np.testing.assert_allclose(spreads, np.broadcast_to(spreads[0], (4, 102)), rtol=0.2)
    assert min(pairs[:2]) > 0.5
    assert max(pairs[2:]) < -0.5


def test_labels_say_what_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in ("NUM_KNOWN", "NUM_TEST"):  # what the readers reach is another test's
        monkeypatch.setattr(spots_oracle, count, 16)
    settings = SynthSettings(variant="spots", num_specimens=2, size=16, num_bands=24)
    root = synthesise(tmp_path / "spots", settings)
    with (root / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter((row["together"], row["layout"]) for row in rows) == {
        (together, layout): 4 for together in ("yes", "no") for layout in ("rings", "rays")
    }
    truth = json.loads((root / "truth.json").read_text())
    for row in rows:
        known = truth["species"][row["species"]]
        assert "pigment" not in known
        assert (row["together"] == "yes", row["layout"]) == (known["together"], known["layout"])
    assert {*truth["oracle"]["accuracy"]["rgb"]} == {*READERS}


@pytest.mark.slow
def test_only_a_reader_of_pixels_tells_and_only_with_both_windows() -> None:
    bands = {n: uniform_indices(len(AXIS), n).tolist() for n in (10, 50)}
    named = {str(n): chosen for n, chosen in bands.items()}
    found = spots_accuracies(build_design("spots"), AXIS, np.random.SeedSequence(3), named)
    error = np.sqrt(0.25 * 0.75 / NUM_TEST)
    for reader in ("mean_spectrum", "image_stats"):
        assert found["50"][reader] < 0.25 + 4 * error
    assert found["50"]["pixel_pairs"] > 0.5 - 4 * error  # together or not, a guess of the layout
    assert found["50"]["image"] > 0.95
    assert found["10"]["pixel_pairs"] == found["10"]["image"] == 0.25
