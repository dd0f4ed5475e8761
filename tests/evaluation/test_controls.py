"""Controls against loops, scikit-learn and planted data; fitted on the training part alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.preprocessing import StandardScaler

from hyperspec.evaluation.config import Evaluation
from hyperspec.evaluation.controls.classifiers import fit_lda, fit_pls_da, score_classifier
from hyperspec.evaluation.controls.pixels import RandomFeatures, image_statistics, standardised
from hyperspec.evaluation.controls.rgb import RgbEncoder, exposure_for, tristimulus
from hyperspec.evaluation.embeddings import Held
from hyperspec.evaluation.metrics import (
    CLASSIFIERS,
    CONTROLS,
    METRICS,
    control_column,
    control_metric,
    control_words,
)
from hyperspec.evaluation.scores import control_table, evaluate_features
from hyperspec.spectra import SpectralAxis
from hyperspec.spectra.colour import colour_weights
from hyperspec.utils.errors import ConfigError

KNN, LINEAR = METRICS["knn_top1"], METRICS["linear_top1"]


def spectra(seed: int, num_specimens: int = 30, bands: int = 40, shift: float = 0.6):
    """Two rows per specimen, three species that differ in two bands among correlated noise."""
    rng = np.random.default_rng(seed)
    labels = [f"species {i % 3}" for i in range(num_specimens) for _ in "DV"]
    names = [f"{i}" for i in range(num_specimens) for _ in "DV"]
    base = rng.normal(size=(2 * num_specimens, 4)) @ np.random.default_rng(99).normal(
        size=(4, bands)
    )
    x = base + 0.1 * rng.normal(size=base.shape)
    kind = np.array([int(one[-1]) for one in labels])
    x[kind == 1, 11] += shift
    x[kind == 2, 30] += shift
    return x, labels, names


def parts(seed: int = 0) -> dict[str, Held]:
    found = {}
    for place, name in enumerate(("train", "validation", "test")):
        x, labels, names = spectra(seed + place, num_specimens=90 if name == "train" else 30)
        files = [f"{name}{i}.bil" for i in range(len(x))]
        found[name] = Held(x, labels, [f"{name}/{one}" for one in names], files)
    return found


def test_image_statistics_against_loops() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(3, 5, 6, 7)).astype(np.float32)
    masks = rng.random((3, 1, 6, 7)) < 0.5
    masks[2] = False  # no specimen found: the whole frame
    found = image_statistics(torch.from_numpy(pixels), torch.from_numpy(masks)).numpy()
    for image, mask, row in zip(pixels, masks[:, 0], found, strict=True):
        own = image[:, mask if mask.any() else np.ones_like(mask)]
        expected = np.concatenate([own.mean(1), own.std(1), own.min(1), own.max(1)])
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


def images(seed: int, count: int = 12, bands: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    masks = torch.rand(count, 1, 9, 9, generator=rng) < 0.7
    return torch.randn(count, bands, 9, 9, generator=rng) * masks, masks


def fitted(pixels: torch.Tensor, masks: torch.Tensor, **options: int) -> RandomFeatures:
    def read(places):
        return pixels[list(places)], masks[list(places)]

    return RandomFeatures.fit(read, len(pixels), **options)


def test_random_features_against_loops() -> None:
    pixels, masks = images(0)
    made = fitted(pixels, masks)
    found = made(pixels, masks).numpy()
    white = np.einsum(
        "dn,bnyx->bdyx", made.whitening.numpy(), pixels.numpy() - made.mean.numpy()[:, None, None]
    )
    white = np.pad(white * masks.numpy(), [(0, 0), (0, 0), (1, 1), (1, 1)])
    kernel = made.filters.numpy()
    assert kernel.shape == (128, 6, 3, 3)
    np.testing.assert_allclose((kernel**2).sum((1, 2, 3)), 1, rtol=1e-5)
    image = 3
    answers = np.array(
        [
            [[(white[image, :, y : y + 3, x : x + 3] * one).sum() for x in range(9)]
             for y in range(9)]
            for one in kernel[:5]
        ]
    )  # fmt: skip
    inside = masks[image, 0].numpy()
    np.testing.assert_allclose(
        found[image, :5], np.maximum(answers - 1, 0)[:, inside].mean(1), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        found[image, 128:133], np.maximum(-answers - 1, 0)[:, inside].mean(1), rtol=1e-4, atol=1e-5
    )


def test_random_features_are_those_of_their_seed_and_whiten_the_patches() -> None:
    pixels, masks = images(1)
    first, same, other = (fitted(pixels, masks, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.filters, same.filters)
    assert not torch.equal(first.filters, other.filters)
    spread = (first.whitening @ pixels.movedim(1, 0).flatten(1)).std(1)
    assert (spread < 1.05).all()
    tiny = images(2)
    small = fitted(tiny[0][..., :2, :2], tiny[1][..., :2, :2])
    assert small.filters.shape[2:] == (1, 1)
    assert torch.isfinite(small(tiny[0][..., :2, :2], tiny[1][..., :2, :2])).all()


def test_features_are_standardised_by_the_training_part_alone() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(3, 5, (40, 4)), rng.normal(size=(7, 4))
    train[:, 2] = 0.5
    ours, other = standardised(train, test)
    np.testing.assert_allclose(ours[:, [0, 1, 3]].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(ours[:, [0, 1, 3]].std(0), 1)
    assert (ours[:, 2] == 0).all()
    assert (other[:, 2] == 0).all()
    expected = (test - train.mean(0)) / train.std(0, where=True).clip(1e-9)
    np.testing.assert_allclose(other[:, [0, 1, 3]], expected[:, [0, 1, 3]])


def test_pls_da_is_the_regression_of_as_many_components() -> None:
    x, labels, names = spectra(0)
    model = fit_pls_da(x, labels, names)
    truth = np.eye(3)[np.unique(labels, return_inverse=True)[1]]
    scaler = StandardScaler().fit(x)
    plain = PLSRegression(model.num_components, scale=False).fit(scaler.transform(x), truth)
    unseen, told, _ = spectra(5)
    expected = np.unique(labels)[plain.predict(scaler.transform(unseen)).argmax(1)]
    assert model.predict(unseen).tolist() == expected.tolist()
    assert (model.predict(unseen) == told).mean() > 0.85
    # One component sees the correlated noise alone: how many are taken is chosen by the data.
    assert model.num_components > 2


def test_the_first_components_do_not_depend_on_how_many_follow() -> None:
    x, labels, _ = spectra(0)
    truth = np.eye(3)[np.unique(labels, return_inverse=True)[1]]
    scaled = StandardScaler().fit_transform(x)
    many = PLSRegression(8, scale=False).fit(scaled, truth)
    for used in (1, 3, 6):
        few = PLSRegression(used, scale=False).fit(scaled, truth)
        mixed = many.x_rotations_[:, :used] @ many.y_loadings_[:, :used].T
        np.testing.assert_allclose(mixed, few.coef_.T, atol=1e-5)


def test_both_views_of_an_animal_are_in_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    from hyperspec.evaluation.controls import classifiers

    seen = []
    whole = classifiers._components

    def noting(features, codes, rows, count):
        seen.append(set(rows.tolist()))
        return whole(features, codes, rows, count)

    monkeypatch.setattr(classifiers, "_components", noting)
    x, labels, names = spectra(0)
    fit_pls_da(x, labels, names)
    *folds, last = seen
    assert len(folds) == 4
    assert last == set(range(len(x)))
    for inside in folds:
        assert {names[row] for row in inside}.isdisjoint(
            names[row] for row in range(len(x)) if row not in inside
        )


def test_a_single_specimen_of_a_label_leaves_nothing_to_choose_by(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x, labels, names = spectra(0, num_specimens=6)
    labels = ["alone" if one == "0" else name for one, name in zip(names, labels, strict=True)]
    model = fit_pls_da(x, labels, names)
    assert model.num_components == len(set(labels)) - 1
    assert "PLS-DA takes 3 components" in caplog.text


def test_shrinkage_lda_finds_what_more_bands_than_rows_hide() -> None:
    x, labels, _ = spectra(0, num_specimens=90, bands=120)
    unseen, told, _ = spectra(7, bands=120)
    assert (fit_lda(x, labels)(unseen) == told).mean() > 0.85
    single = [*labels[:-1], "one row"]
    assert set(fit_lda(x, single)(unseen)) <= set(single)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_has_scores_of_validation_and_test_and_its_columns(name: str) -> None:
    given = parts()
    found = score_classifier(name, given)
    names = ("top1", "top1_low", "top1_high", "balanced")
    assert set(found.metrics) == {
        f"{prefix}/{name}_{one}" for prefix in ("control", "control_val") for one in names
    }
    for part, short in (("validation", "val"), ("test", "test")):
        table, top1 = found.predictions[part], control_metric(name, KNN, short)
        assert table[control_column(name, KNN)].mean() == found.metrics[top1]
        assert found.metrics[f"{top1}_low"] <= found.metrics[top1] <= found.metrics[f"{top1}_high"]
        assert (table[name] == table["label"]).tolist() == table[f"{name}_correct"].tolist()
    assert found.metrics[f"control/{name}_top1"] > 0.8


def test_classifiers_without_two_labels_say_nothing() -> None:
    given = parts()
    for label in (None, "the same"):
        bare = {
            name: dataclasses.replace(one, labels=[label] * len(one.files))
            for name, one in given.items()
        }
        assert score_classifier("lda", bare).metrics == {}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_test_rows_change_no_classifier(name: str) -> None:
    given = parts()
    changed = dataclasses.replace(given["test"], features=1e3 * np.cos(given["test"].matrix))
    first = score_classifier(name, given)
    second = score_classifier(name, {**given, "test": changed})
    kept = {key: value for key, value in first.metrics.items() if key.startswith("control_val/")}
    assert kept == {key: second.metrics[key] for key in kept}
    assert first.metrics["control/" + f"{name}_top1"] != second.metrics["control/" + f"{name}_top1"]


def test_what_stands_for_a_control() -> None:
    assert control_metric("mean_spectrum", LINEAR) == "control/mean_spectrum_linear_top1"
    assert control_metric("mean_spectrum", LINEAR, "val") == "control_val/mean_spectrum_linear_top1"
    assert control_metric("lda", KNN) == control_metric("lda", LINEAR) == "control/lda_top1"
    assert control_metric("lda", METRICS["linear_balanced"]) == "control/lda_balanced"
    assert control_column("untrained", KNN) == "untrained_knn_correct"
    assert control_column("pls_da", LINEAR) == "pls_da_correct"
    assert control_words("mean_spectrum", LINEAR) == "mean spectrum, linear probe"
    assert control_words("pls_da", LINEAR) == "PLS-DA"
    # The columns are those that the table has.
    given = parts()
    features = evaluate_features(given, ["knn", "linear"], prefixes={"test": "control/untrained_"})
    table = control_table({"untrained": features, "lda": score_classifier("lda", given)})
    wanted = {control_column(name, row) for name in ("untrained", "lda") for row in (KNN, LINEAR)}
    assert wanted == {column for column in table if column.endswith("_correct")}


def test_names_of_controls_are_checked() -> None:
    every = list(CONTROLS)
    assert Evaluation().control_names == every
    assert Evaluation(controls=False).control_names == []
    assert Evaluation(controls=["lda", "untrained", "lda"]).control_names == ["lda", "untrained"]
    assert Evaluation(controls="lda").control_names == ["lda"]
    for wrong in (["pls"], "everything", [3], None):
        with pytest.raises(
            ConfigError, match=r"evaluation\.controls names .*list out of untrained"
        ):
            Evaluation(controls=wrong)
    with pytest.raises(ConfigError, match=r"evaluation\.rgb_weights is 'DEFAULT'.*not downloaded"):
        Evaluation(rgb_weights="DEFAULT")
    with pytest.raises(ConfigError, match=r"evaluation\.rgb_model is 'dino'; choose resnet18"):
        Evaluation(rgb_model="dino")


def test_an_encoder_of_photographs_sees_what_an_eye_sees(tmp_path) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    torch.save(resnet18(weights=None).state_dict(), tmp_path / "weights.pt")
    axis = SpectralAxis.linear(380, 780, 41)
    colours = colour_weights(axis)
    planes = np.zeros((3, len(colours.bands), 16, 16), np.float16)
    nm = axis.wavelengths_nm[colours.bands]
    planes[0, nm > 600], planes[1, nm < 480], planes[2] = 0.8, 0.8, 0.8
    xyz = tristimulus(planes, colours)
    np.testing.assert_allclose(
        xyz[2, :, 3, 4], 0.8 * np.array([0.9504, 1, 1.0888]), rtol=2e-3
    )  # white: D65
    masks = np.ones((3, 16, 16), bool)
    exposure = exposure_for(xyz, masks)
    assert exposure == pytest.approx(1 / 0.8, rel=1e-3)
    encoder = RgbEncoder("resnet18", str(tmp_path / "weights.pt"))
    found = encoder(xyz, exposure)
    assert found.shape == (3, 512)
    # As torchvision's own network says of the same pictures.
    from hyperspec.spectra.colour import srgb_picture

    pictures = [srgb_picture(one, exposure) for one in xyz]
    red, blue, white = (picture[5, 5].tolist() for picture in pictures)
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
    assert min(white) >= 254
    net = resnet18(weights=None)
    net.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    net.fc = torch.nn.Identity()
    with torch.no_grad():
        expected = net.eval()(RgbEncoder.pictures(pictures)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.rgb_weights=nowhere\.pt is not a file"):
        RgbEncoder("resnet18", "nowhere.pt")
