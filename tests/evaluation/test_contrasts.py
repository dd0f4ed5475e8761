"""The receptor-noise model against the closed forms of the paper."""

import numpy as np
import pandas as pd
import pytest

from hyperspec.evaluation.contrasts import (
    achromatic_contrast,
    chromatic_contrast,
    contrast_table,
    draw_contrasts,
    write_contrasts,
)


def dichromat(f, e):
    return abs(f[0] - f[1]) / np.sqrt(e[0] ** 2 + e[1] ** 2)


def trichromat(f, e):
    above = (
        e[0] ** 2 * (f[2] - f[1]) ** 2
        + e[1] ** 2 * (f[2] - f[0]) ** 2
        + e[2] ** 2 * (f[0] - f[1]) ** 2
    )
    return np.sqrt(above / ((e[0] * e[1]) ** 2 + (e[0] * e[2]) ** 2 + (e[1] * e[2]) ** 2))


def tetrachromat(f, e):
    above = (
        (e[0] * e[1]) ** 2 * (f[3] - f[2]) ** 2
        + (e[0] * e[2]) ** 2 * (f[3] - f[1]) ** 2
        + (e[0] * e[3]) ** 2 * (f[2] - f[1]) ** 2
        + (e[1] * e[2]) ** 2 * (f[3] - f[0]) ** 2
        + (e[1] * e[3]) ** 2 * (f[2] - f[0]) ** 2
        + (e[2] * e[3]) ** 2 * (f[1] - f[0]) ** 2
    )
    below = (
        (e[0] * e[1] * e[2]) ** 2
        + (e[0] * e[1] * e[3]) ** 2
        + (e[0] * e[2] * e[3]) ** 2
        + (e[1] * e[2] * e[3]) ** 2
    )
    return np.sqrt(above / below)


@pytest.mark.parametrize("closed", [dichromat, trichromat, tetrachromat])
def test_contrasts_are_those_of_the_closed_forms(closed):
    n = {dichromat: 2, trichromat: 3, tetrachromat: 4}[closed]
    rng = np.random.default_rng(n)
    for _ in range(20):
        one, other = rng.uniform(0.05, 1, (2, n))
        noise = rng.uniform(0.02, 0.3, n)
        expected = closed(np.log(one / other), noise)
        assert chromatic_contrast(one, other, noise) == pytest.approx(expected, rel=1e-12)


def test_brightness_alone_is_no_colour():
    one = np.array([[0.1, 0.4, 0.3], [0.2, 0.2, 0.5]])
    np.testing.assert_allclose(chromatic_contrast(one, 3 * one, [0.1, 0.2, 0.3]), 0, atol=1e-12)
    assert chromatic_contrast([0.5], [0.1], [0.1]) == 0
    assert achromatic_contrast(0.3, 0.1, 0.2) == pytest.approx(np.log(3) / 0.2)
    assert achromatic_contrast(0.1, 0.3, 0.2) == pytest.approx(np.log(3) / 0.2)


def test_a_table_has_a_row_per_pair_with_the_contrast_of_mean_catches():
    rng = np.random.default_rng(0)
    catches = {name: rng.uniform(0.2, 0.6, (12, 3)) for name in "abc"}
    catches["b"] = catches["b"] * [1, 1, 2]
    noise = (0.1, 0.05, 0.05)
    table = contrast_table(catches, noise, {k: v[:, 1] for k, v in catches.items()}, 0.2)
    assert table[["label_a", "label_b"]].values.tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    means = {name: values.mean(0) for name, values in catches.items()}
    for row in table.to_dict("records"):
        a, b = means[row["label_a"]], means[row["label_b"]]
        assert row["chromatic_jnd"] == pytest.approx(float(chromatic_contrast(a, b, noise)))
        assert row["achromatic_jnd"] == pytest.approx(abs(np.log(a[1] / b[1])) / 0.2)
        assert 0 <= row["chromatic_low"] < row["chromatic_high"]
        assert row["specimens_a"] == 12
    same = table[table.label_b == "c"].iloc[0]
    assert table.chromatic_jnd[0] > same.chromatic_jnd
    pd.testing.assert_frame_equal(
        table, contrast_table(catches, noise, {k: v[:, 1] for k, v in catches.items()}, 0.2)
    )


def test_intervals_hold_the_contrast_of_the_population():
    """Specimens around two known colours: the interval of 95% holds the true one about as often."""
    truth = np.array([0.3, 0.4]), np.array([0.3, 0.6])
    expected = float(chromatic_contrast(*truth, (0.1, 0.1)))
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        catches = {
            name: centre * (1 + 0.1 * rng.normal(size=(20, 2)))
            for name, centre in zip("ab", truth, strict=True)
        }
        row = contrast_table(catches, (0.1, 0.1)).iloc[0]
        held += row.chromatic_low <= expected <= row.chromatic_high
    assert held >= 50  # of 60; 57 are expected, below 50 lies 1 in 2000


def test_a_single_specimen_has_a_contrast_without_an_interval():
    table = contrast_table({"a": [[0.2, 0.4]], "b": [[0.4, 0.4]]}, (0.1, 0.1))
    assert table.chromatic_jnd[0] == pytest.approx(np.log(2) / np.hypot(0.1, 0.1))
    assert np.isnan(table.chromatic_low[0])
    mixed = contrast_table({"a": [[0.2, 0.4]], "b": [[0.4, 0.4], [0.5, 0.4]]}, (0.1, 0.1))
    assert np.isfinite(mixed.chromatic_low[0])


def test_table_and_picture_are_written(tmp_path):
    table = contrast_table({n: [[0.2 + i / 10, 0.4]] for i, n in enumerate("abc")}, (0.1, 0.1))
    paths = write_contrasts(table, tmp_path / "out", "observer")
    assert pd.read_csv(paths[0]).label_a.tolist() == ["a", "a", "b"]
    assert paths[1].stat().st_size > 5000
    shown = [text.get_text() for text in draw_contrasts(table, "x").axes[0].texts]
    assert shown.count(f"{table.chromatic_jnd[0]:.1f}") == 2
