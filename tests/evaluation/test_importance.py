"""Importance: a linear encoder whose true importance is known, and images checked by loops."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor, nn

from hyperspec.evaluation.controls.spectra import mean_spectra
from hyperspec.evaluation.importance.occlusion import Occluder
from hyperspec.evaluation.importance.perturbation import Importance, band_importance
from hyperspec.evaluation.importance.report import (
    draw_importance,
    importance_table,
    write_importance,
)
from hyperspec.evaluation.importance.sliding_windows import choose_donors, plan_windows
from hyperspec.utils.errors import ConfigError

NM = np.linspace(348.0, 809.0, 93)  # every 5 nm
UV = np.abs(NM - 373) <= 8
RED = np.abs(NM - 700) <= 5


class Planted(nn.Module):
    """The mean spectrum through fixed weights that are 0 outside two windows."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.zeros(4, len(NM))
        weight[0, UV], weight[1, RED] = 1.0, 1.0
        weight[2, UV], weight[3, RED] = 0.5, -0.5
        self.weight = nn.Parameter(weight)
        self.seen_training: list[bool] = []

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        self.seen_training.append(self.training)
        inside = torch.ones_like(x[:, :1], dtype=torch.bool) if mask is None else mask
        spectra = (x * inside).sum((2, 3)) / inside.sum((2, 3))
        return spectra @ self.weight.T


@pytest.fixture(scope="module")
def data():
    """Four species by window; flat reflectance, absorption where a species has the window."""
    random = np.random.default_rng(0)
    labels, specimens, images = [], [], []
    for number in range(24):
        uv, red = number % 2, number // 2 % 2
        spectrum = np.full(len(NM), 0.6) + random.normal(0, 0.02) + random.normal(0, 0.01, len(NM))
        spectrum[UV] *= 0.5 if uv else 1.0
        spectrum[RED] *= 0.5 if red else 1.0
        for _ in range(2):
            shading = random.uniform(0.9, 1.1, (6, 6))
            images.append(spectrum[:, None, None] * shading)
            labels.append(f"{uv}{red}")
            specimens.append(f"{uv}{red}/{number}")
    masks = random.random((48, 6, 6)) < 0.6
    masks[:, 0, 0] = True
    images = np.asarray(images, np.float32)
    images *= masks[:, None]  # background is 0, as prepared specimens have it
    fill = mean_spectra(images, masks).mean(0)
    return images, masks, labels, specimens, fill


def true_change(images, masks, fill, bands):
    """The closed form for the linear encoder: occlude the mean spectrum itself."""
    weight = Planted().weight.detach().numpy().astype(np.float64)
    before = mean_spectra(images, masks)
    after = before.copy()
    after[:, bands] = fill[bands]
    first, second = before @ weight.T, after @ weight.T
    cosine = (
        (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    )
    return 1 - cosine


def test_mean_occlusion_equals_the_closed_form(data):
    images, masks, _, specimens, fill = data
    found = band_importance(Planted(), images, masks, NM, specimens, window_nm=20, fill=fill)
    assert found.change.shape == (len(found.windows.centres_nm), 48)
    for i in range(len(found.windows.centres_nm)):
        expected = true_change(images, masks, fill, found.windows.bands(i))
        np.testing.assert_allclose(found.change[i], expected, atol=2e-6)


def test_windows_without_weight_change_nothing_and_planted_ones_stand_out(data):
    images, masks, labels, specimens, fill = data
    encoder = Planted()
    with torch.no_grad():
        features = encoder(torch.from_numpy(images), torch.from_numpy(masks)[:, None]).numpy()
    names = np.unique(labels)
    centroids = np.stack([features[np.asarray(labels) == name].mean(0) for name in names])

    def predict(x):
        return names[np.argmin(((x[:, None] - centroids) ** 2).sum(2), axis=1)]

    for mode in ("mean", "interpolation", "permutation"):
        found = band_importance(
            encoder,
            images,
            masks,
            NM,
            specimens,
            window_nm=30,
            step_nm=5,
            mode=mode,
            fill=fill if mode == "mean" else None,
            predict=predict,
            labels=labels,
        )
        planted = np.array(
            [(UV | RED)[found.windows.bands(i)].any() for i in range(len(found.change))]
        )
        assert np.abs(found.change[~planted]).max() < 1e-6
        assert np.all(found.drop[~planted] == 0)
        table = importance_table([found])
        for nm in (373, 700):
            centre = int(np.argmin(np.abs(table["centre_nm"] - nm)))
            assert table["change_low"][centre] > table["change"][~planted].median()
            assert table["drop_low"][centre] > 0.15
        assert table["change_high"][~planted].max() < 1e-6


def test_batches_do_not_change_the_result(data):
    images, masks, _, specimens, fill = data
    results = [
        band_importance(
            Planted(), images, masks, NM, specimens, fill=fill, window_nm=60, batch_size=size
        ).change
        for size in (7, 48, 500)
    ]
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
    np.testing.assert_allclose(results[0], results[2], atol=1e-6)


def test_base_is_embedded_once_in_eval_mode_and_equal_windows_once(data):
    images, masks, _, specimens, fill = data
    encoder = Planted().train()
    few = NM[::10]  # every 50 nm: windows of 20 nm at steps of 2 nm repeat their bands
    found = band_importance(
        lambda x, mask: encoder(_spread(x), mask),
        images[:, ::10],
        masks,
        few,
        specimens,
        window_nm=20,
        step_nm=2,
        fill=fill[::10],
        batch_size=48,
    )
    assert len(found.windows.sets) == len(few)
    assert len(found.windows.centres_nm) > 50
    assert len(encoder.seen_training) == 1 + len(few)
    encoder.seen_training.clear()
    band_importance(encoder, images, masks, NM, specimens, window_nm=300, fill=fill)
    assert not any(encoder.seen_training)
    assert encoder.training


def _spread(x: Tensor) -> Tensor:
    full = torch.zeros(len(x), len(NM), *x.shape[2:])
    full[:, ::10] = x
    return full


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("mode", ["mean", "interpolation", "permutation"])
def test_occluded_images_against_loops(mode, masked):
    random = np.random.default_rng(1)
    nm = np.array([500.0, 400.0, 450.0, 430.0, 600.0])  # neither ascending nor even
    images = random.random((4, 5, 3, 3)).astype(np.float32)
    masks = random.random((4, 3, 3)) < 0.5
    masks[:, 1, 1] = True
    names = ["p", "p", "q", "q"]
    fill = np.arange(5) / 10.0
    occluder = Occluder(images, masks if masked else None, nm, names, mode, fill, 1, 0)
    sets = (np.array([2, 3]), np.array([4]))
    batches = [x.numpy() for x, _ in occluder.occluded(sets, 0, 3)]
    assert [len(x) for x in batches] == [3, 3, 2]
    found = np.concatenate(batches).reshape(2, 4, 5, 3, 3)
    expected = np.stack([images, images])
    donors = [2, 3, 0, 1]
    for s, bands in enumerate(sets):
        for i in range(4):
            for band in bands:
                for y in range(3):
                    for x in range(3):
                        if masked and not masks[i, y, x]:
                            continue
                        own = images[i, :, y, x]
                        if mode == "mean":
                            value = fill[band]
                        elif mode == "permutation":
                            plane = images[donors[i], band]
                            theirs = masks[donors[i]]
                            inside = not masked or theirs[y, x]
                            value = plane[y, x] if inside else plane[theirs].mean()
                        elif band == 4:  # beyond the last band: the nearest, 500 nm
                            value = own[0]
                        else:  # 450 and 430 nm lie between 400 and 500
                            value = np.interp(nm[band], [400, 500], [own[1], own[0]])
                        expected[s, i, band, y, x] = value
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(found[0], images)


def test_donors_are_other_specimens_and_each_gives_once():
    specimens = ["a", "a", "b", "c", "c", "d"]
    donors = choose_donors(specimens, 3, seed=0)
    for round_ in donors:
        giving = {specimens[row]: specimens[donor] for row, donor in enumerate(round_)}
        assert all(giver != taker for taker, giver in giving.items())
        assert sorted(giving.values()) == ["a", "b", "c", "d"]
    for row in range(6):
        assert len({specimens[donor] for donor in donors[:, row]}) == 3


def test_permutation_averages_over_its_donors(data):
    images, masks, _, specimens, _ = data
    settings = {"window_nm": 100, "mode": "permutation", "seed": 3}
    args = (Planted(), images, masks, NM, specimens)
    both = band_importance(*args, num_permutations=2, **settings)
    first = band_importance(*args, num_permutations=1, **settings)
    donors = choose_donors(specimens, 2, 3)
    weight = Planted().weight.detach().numpy().astype(np.float64)
    spectra = mean_spectra(images, masks)
    swapped = spectra.copy()
    bands = both.windows.bands(0)
    # Reflectance is spectrum × shading; only its second donor is missing from `first`.
    assert np.abs(both.change[0] * 2 - first.change[0]).max() > 0
    swapped[:, bands] = spectra[donors[1]][:, bands]
    second = _cosine_change(spectra @ weight.T, swapped @ weight.T)
    np.testing.assert_allclose(both.change[0] * 2 - first.change[0], second, atol=5e-3)


def _cosine_change(first, second):
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return 1 - (first * second).sum(1) / lengths


def test_windows_cover_every_band():
    for nm in (NM, NM[::-1], np.array([400.0, 401.0, 650.0]), np.array([500.0])):
        windows = plan_windows(nm, 20, None)
        covered = np.unique(np.concatenate(windows.sets))
        assert covered.tolist() == list(range(len(nm)))
        for i, centre in enumerate(windows.centres_nm):
            inside = np.flatnonzero(np.abs(nm - centre) <= 10 + 1e-6)
            assert windows.bands(i).tolist() == inside.tolist()


def result(seed: int, specimens=("a", "a", "b", "c")) -> Importance:
    random = np.random.default_rng(seed)
    windows = plan_windows(np.arange(400.0, 500.0, 10), 20, 20)
    shape = (len(windows.centres_nm), len(specimens))
    drop = random.choice([0.0, 1.0], shape)
    drop[0] = 0
    return Importance(windows, "mean", specimens, random.random(shape), drop)


def test_table_over_seeds_and_files(tmp_path):
    results = [result(0), result(1), result(2)]
    table = importance_table(results)
    expected = np.mean([one.change for one in results], axis=(0, 2))
    np.testing.assert_allclose(table["change"], expected)
    assert (table["change_low"] < table["change"]).all()
    assert (table["change_high"] > table["change"]).all()
    # Nothing dropped in the first window: three specimens cannot prove that nothing ever will.
    assert table["drop"][0] == 0
    assert table["drop_low"][0] == -table["drop_high"][0] == pytest.approx(-0.7076, abs=1e-4)
    assert table["num_bands"].tolist() == [2, 3, 3, 3, 3, 1]
    csv, picture = write_importance(table, tmp_path / "out", regions_nm=[(440, 450)])
    pd.testing.assert_frame_equal(pd.read_csv(csv), table, rtol=1e-5, check_dtype=False)
    assert imread(picture).shape[0] > 700
    figure = draw_importance(table)
    assert len(figure.axes) == 2
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), table["centre_nm"])
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), table["drop"])


def test_no_line_goes_over_wavelengths_that_no_band_reads():
    table = importance_table([result(0)])
    figure = draw_importance(table.drop(index=[2, 3]))
    drawn = figure.axes[0].lines[0].get_xdata()
    np.testing.assert_array_equal(drawn, [400, 420, np.nan, 480, 500])


def test_windows_and_marks_end_where_the_axis_does():
    table = importance_table([result(0)])  # of bands from 400 to 490 nm
    figure = draw_importance(table, regions_nm=[(300, 410)], range_nm=(400, 490))
    assert figure.axes[0].lines[0].get_xdata().tolist() == [400, 420, 440, 460, 480, 490]
    for axes in figure.axes:
        assert 398 <= axes.get_xlim()[0] < axes.get_xlim()[1] <= 492


def test_results_of_other_rows_are_not_mixed():
    with pytest.raises(ValueError, match="must share mode, windows and rows"):
        importance_table([result(0), result(1, ("a", "b", "b", "c"))])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_nm": 0}, "importance.window_nm is 0; give a width in nanometres above 0"),
        ({"window_nm": 10, "step_nm": 11}, "importance.step_nm is 11; give a distance above 0"),
        ({"mode": "zero"}, "importance.mode is 'zero'; choose one of mean, interpolation"),
        (
            {"mode": "interpolation", "window_nm": 2000},
            "importance.window_nm covers all 93 bands, so that none is left",
        ),
        (
            {"mode": "permutation", "num_permutations": 24},
            "importance.num_permutations is 24, but there are 24 held-out specimens",
        ),
    ],
)
def test_options_are_checked(data, options, message):
    images, masks, _, specimens, fill = data
    with pytest.raises(ConfigError, match=re.escape(message)):
        band_importance(Planted(), images, masks, NM, specimens, fill=fill, **options)


def test_shapes_are_checked(data):
    images, masks, labels, specimens, fill = data
    with pytest.raises(ValueError, match="do not fit 92 wavelengths"):
        band_importance(Planted(), images, masks, NM[1:], specimens, fill=fill)
    with pytest.raises(ValueError, match=r"masks of shape \(47, 6, 6\)"):
        band_importance(Planted(), images, masks[1:], NM, specimens, fill=fill)
    with pytest.raises(ValueError, match=r"mode 'mean' needs fill of shape \(93,\)"):
        band_importance(Planted(), images, masks, NM, specimens)
    with pytest.raises(ValueError, match="predict and labels belong together"):
        band_importance(Planted(), images, masks, NM, specimens, fill=fill, labels=labels)
