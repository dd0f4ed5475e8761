"""The metrics of a run by name, the table of predictions, controls and the objective."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hyperspec.evaluation.config import DEFAULT
from hyperspec.evaluation.controls.spectra import mean_spectra
from hyperspec.evaluation.embeddings import Held
from hyperspec.evaluation.evaluators import BUILT_IN
from hyperspec.evaluation.evaluators.knn import knn_probe
from hyperspec.evaluation.evaluators.linear import fit_linear_probe
from hyperspec.evaluation.evaluators.rankme import rankme
from hyperspec.evaluation.evaluators.view_retrieval import view_retrieval
from hyperspec.evaluation.metrics import METRICS as ROWS
from hyperspec.evaluation.metrics import measured
from hyperspec.evaluation.objective import check_objective, objective_value, resolve_objective
from hyperspec.evaluation.scores import control_table, evaluate_features
from hyperspec.evaluation.statistics.intervals import mean_interval
from hyperspec.utils.errors import ConfigError, HyperspecError

SPECIES = list("abc")


def part(seed: int, per_label: int, name: str, noise: float = 1.0) -> Held:
    random = np.random.default_rng(seed)
    labels = np.repeat(SPECIES, 2 * per_label)
    centres = np.repeat(np.eye(3, 8) * 1.5, 2 * per_label, axis=0)
    animals = np.repeat(random.normal(0, noise, (3 * per_label, 8)), 2, axis=0)
    features = centres + animals + random.normal(0, 0.3, animals.shape)
    specimens = [f"{label}/{name}{i // 2}" for i, label in enumerate(labels)]
    files = [f"{name}{i}.bil" for i in range(len(labels))]
    return Held(features, labels.tolist(), specimens, files)


@pytest.fixture(scope="module")
def parts() -> dict[str, Held]:
    return {
        "train": part(0, 8, "t"),
        "validation": part(1, 4, "v"),
        "test": part(2, 4, "x"),
    }


def control(name: str, parts: dict[str, Held], **options):
    """Score as the controls of a run are."""
    prefixes = {"test": f"control/{name}_"}
    return evaluate_features(parts, ["knn", "linear"], prefixes=prefixes, **options)


@pytest.fixture(scope="module")
def result(parts):
    return evaluate_features(parts, DEFAULT, seed=0)


def test_names_of_the_metrics(result):
    per_part = {"rankme", "view_retrieval_chance", "linear_C"}
    per_part |= {f"{probe}_balanced" for probe in ("knn", "linear")}
    for score in ("knn_top1", "linear_top1", "view_retrieval_top1"):
        per_part |= {score, f"{score}_low", f"{score}_high"}
    assert set(result.metrics) == {f"{p}/{name}" for p in ("val", "test") for name in per_part}


def test_values_are_those_of_the_parts(parts, result):
    train, test = parts["train"], parts["test"]
    near = knn_probe(train.features, train.labels, test.features, test.labels)
    probe = fit_linear_probe(train.features, train.labels, groups=train.specimens)
    line = probe.score(test.features, test.labels)
    ends = mean_interval(near.correct, test.specimens)
    views, _ = view_retrieval(parts["validation"].features, parts["validation"].specimens)
    metrics = result.metrics
    assert metrics["test/knn_top1"] == near.top1
    assert (metrics["test/knn_top1_low"], metrics["test/knn_top1_high"]) == (ends.low, ends.high)
    assert metrics["test/knn_balanced"] == near.balanced
    assert metrics["test/linear_top1"] == line.top1
    assert metrics["test/linear_C"] == line.C
    assert metrics["val/view_retrieval_top1"] == pytest.approx(views.mean())
    assert metrics["val/rankme"] == rankme(parts["validation"].features)
    assert 1 / 3 < metrics["test/knn_top1"] < 1.0


def test_table_of_test_predictions(parts, result):
    table = result.predictions["test"]
    assert list(table.columns) == [
        "file",
        "specimen",
        "label",
        "knn",
        "linear",
        "knn_correct",
        "linear_correct",
    ]
    assert table["file"].tolist() == parts["test"].files
    assert table["specimen"].tolist() == parts["test"].specimens
    assert table["knn_correct"].tolist() == (table["knn"] == table["label"]).astype(int).tolist()
    assert table["linear_correct"].mean() == result.metrics["test/linear_top1"]
    assert set(result.predictions) == {"validation", "test"}


def test_the_test_part_changes_nothing_on_validation(parts, result):
    other = evaluate_features({**parts, "test": part(9, 4, "y", noise=2.0)}, DEFAULT)
    changed = {name for name, value in result.metrics.items() if other.metrics[name] != value}
    assert not any(name.startswith("val/") for name in changed)
    assert {"test/knn_top1", "test/linear_top1", "test/rankme"} <= changed


def test_validation_alone_and_without_the_linear_probe(parts, result):
    alone = evaluate_features({name: parts[name] for name in ("train", "validation")}, ["knn"])
    assert alone.metrics["val/knn_top1"] == result.metrics["val/knn_top1"]
    assert not any("linear" in name or name.startswith("test/") for name in alone.metrics)
    assert "linear" not in alone.predictions["validation"].columns


def test_without_labels_only_label_free_scores_remain(parts):
    bare = {
        name: Held(p.features, [None] * len(p.labels), p.specimens, p.files)
        for name, p in parts.items()
    }
    found = evaluate_features(bare, DEFAULT)
    assert not found.predictions
    assert {name.split("/")[1].split("_top1")[0] for name in found.metrics} == {
        "rankme",
        "view_retrieval",
        "view_retrieval_chance",
    }
    single = {
        name: Held(p.features, p.labels, p.files, p.files) if name == "validation" else p
        for name, p in bare.items()
    }
    assert "val/view_retrieval_top1" not in evaluate_features(single, DEFAULT).metrics


def test_rows_without_a_label_are_not_probed(parts):
    train, test = parts["train"], parts["test"]
    labels = [None, None, *test.labels[2:]]
    found = evaluate_features(
        {"train": train, "test": Held(test.features, labels, test.specimens, test.files)}, DEFAULT
    )
    assert found.predictions["test"]["file"].tolist() == test.files[2:]


def test_control_has_its_own_names_and_the_test_part_only(parts, result):
    beside = control("untrained", parts)
    assert beside.metrics["control/untrained_knn_top1"] == result.metrics["test/knn_top1"]
    assert set(beside.metrics) == {
        "control/untrained_" + name.removeprefix("test/")
        for name in result.metrics
        if name.startswith(("test/knn", "test/linear"))
    }
    assert set(beside.predictions) == {"test"}


def test_what_controls_said_stands_side_by_side(parts):
    test = parts["test"]
    noise = np.random.default_rng(0).normal(size=test.matrix.shape)
    poor = {**parts, "test": Held(noise, test.labels, test.specimens, test.files)}
    controls = {
        "untrained": control("untrained", poor),
        "mean_spectrum": control("mean_spectrum", parts),
    }
    table = control_table(controls)
    assert list(table.columns) == [
        *("file", "specimen", "label"),
        *("untrained_knn", "untrained_linear"),
        *("untrained_knn_correct", "untrained_linear_correct"),
        *("mean_spectrum_knn", "mean_spectrum_linear"),
        *("mean_spectrum_knn_correct", "mean_spectrum_linear_correct"),
    ]
    assert table["file"].tolist() == list(test.files)
    for name, found in controls.items():
        assert table[f"{name}_knn_correct"].mean() == found.metrics[f"control/{name}_knn_top1"]
    said = [table[f"{name}_knn"].tolist() for name in controls]
    assert said[0] != said[1]


def test_controls_without_labels_have_no_table(parts):
    bare = {
        name: Held(p.features, [None] * len(p.files), p.specimens, p.files)
        for name, p in parts.items()
    }
    assert control_table({"untrained": control("untrained", bare)}) is None


def test_lengths_must_fit():
    with pytest.raises(ValueError, match=r"shape \(2, 2\), 1 labels, 2 specimens and 2 files"):
        Held(np.eye(2), ["a"], ["x", "y"], ["f", "g"])


def test_mean_spectra_against_loops():
    random = np.random.default_rng(0)
    images = random.random((3, 4, 5, 6)).astype(np.float32)
    masks = random.random((3, 5, 6)) < 0.4
    masks[2] = False  # no specimen found: the whole frame
    images[0, 1, masks[0]] = np.nan
    images[1, 2, 0, 0] = np.nan
    found = mean_spectra(images, masks)
    for i in range(3):
        for band in range(4):
            pixels = [
                float(images[i, band, y, x])
                for y in range(5)
                for x in range(6)
                if (masks[i, y, x] or i == 2) and np.isfinite(images[i, band, y, x])
            ]
            assert found[i, band] == pytest.approx(np.mean(pixels) if pixels else 0.0, abs=1e-7)
    assert found[0, 1] == 0.0
    np.testing.assert_allclose(
        mean_spectra(images[2:]), images[2:].mean((2, 3), dtype=np.float64), atol=1e-12
    )
    with pytest.raises(ValueError, match=r"masks of shape \(2, 5, 6\) do not fit"):
        mean_spectra(images, masks[:2])


METRICS = {
    "cost/train_seconds": 2.0,
    "val/knn_top1": 0.7,
    "val/view_retrieval_top1": 0.5,
    "val/rankme": 9.0,
    "test/knn_top1": 0.8,
    "control/untrained_knn_top1": 0.4,
}


@pytest.mark.parametrize(
    ("labels", "views", "expected"), [(True, True, 0.7), (True, False, 0.7), (False, True, 0.5)]
)
def test_default_objective(labels, views, expected, caplog):
    for requested in (None, "auto"):
        found = objective_value(
            METRICS, labels_available=labels, views_available=views, requested=requested
        )
        assert found == expected
    assert not caplog.text


def test_rankme_comes_with_a_warning(caplog):
    assert objective_value(METRICS, labels_available=False, views_available=False) == 9.0
    assert "RankMe counts the directions" in caplog.text
    assert "it is no accuracy" in caplog.text


def test_a_requested_objective_is_taken():
    found = objective_value(
        METRICS, labels_available=True, views_available=True, requested="cost/train_seconds"
    )
    assert found == 2.0
    assert (
        resolve_objective("val/rankme", labels_available=True, views_available=True) == "val/rankme"
    )


@pytest.mark.parametrize(
    "name",
    [
        *("test/knn_top1", "control/untrained_knn_top1", "held_out/knn_other_specimens"),
        *("random_split/knn_top1", "inflation/knn_top1"),
    ],
)
def test_nothing_is_chosen_on_test_or_controls(name):
    with pytest.raises(ConfigError, match=f"objective is '{name}', but nothing may be chosen"):
        objective_value(METRICS, labels_available=True, views_available=True, requested=name)


def test_unknown_objective_names_the_nearest_and_all():
    message = (
        "objective is 'val/kn_top1', which this run did not measure. Did you mean val/knn_top1? "
        "Available: cost/train_seconds, val/knn_top1, val/rankme, val/view_retrieval_top1."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        objective_value(
            METRICS, labels_available=True, views_available=True, requested="val/kn_top1"
        )
    with pytest.raises(ConfigError, match=r"needs labels .* Take for example val/rankme"):
        objective_value(
            {"val/rankme": 1.0},
            labels_available=False,
            views_available=False,
            requested="val/knn_top1",
        )


def test_an_objective_that_is_not_a_number():
    with pytest.raises(HyperspecError, match="objective 'val/rankme' is nan"):
        objective_value(
            {"val/rankme": float("nan")},
            labels_available=True,
            views_available=True,
            requested="val/rankme",
        )


USUAL = ("knn", "linear", "view_retrieval", "rankme")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("val/knn_top11", "Did you mean val/knn_top1"),
        ("knn_top1", "Did you mean val/knn_top1"),
        ("cost/gpu_memory_mb", "Did you mean cost/peak_memory_mb"),
        ("val/window_retrieval_top1", "which no job of this config measures"),
        ("best/val_knn_top1", "which no job of this config measures"),
        ("bands.n_low", "Did you mean bands.n"),
        ("train/loss", "which is no score of an encoder"),
        ("val/knn_other_specimens", "which is no score of an encoder"),
        ("val/nmi", "which the evaluator 'clusters' measures; add it"),
        ("val/nmi_low", "which the evaluator 'clusters' measures; add it"),
        ("test/knn_top1", "nothing may be chosen on the test part"),
    ],
)
def test_what_no_job_measures_is_no_objective(name, said):
    with pytest.raises(ConfigError, match=re.escape(f"objective is '{name}', ")) as caught:
        check_objective([name, "val/rankme"], USUAL)
    assert said in str(caught.value)


def test_the_list_of_scores_is_what_evaluators_give():
    random = np.random.default_rng(0)

    def part(name):
        owners = [f"{name}/{i // 2}" for i in range(16)]
        return Held(random.normal(size=(16, 4)), list("aabb") * 4, owners, [*map(str, range(16))])

    parts = {name: part(name) for name in ("train", "validation")}
    found = evaluate_features(parts, BUILT_IN).metrics
    given = {name for name in found if not name.endswith(("_low", "_high"))}
    optimised = {name for name in given if ROWS[name.removeprefix("val/")].objective}
    assert optimised == {name for name in measured(BUILT_IN) if name.startswith("val/")}


def test_what_jobs_measure_is_taken():
    for name in (*("auto", "bands.n", "val/linear_top1", "val/knn_top1_low"), *measured(USUAL)):
        check_objective(name, USUAL)
    windows = {"windows": ("uv", "nir")}
    check_objective("val/window_retrieval_nir_uv", USUAL, **windows)
    check_objective("best/val_knn_top1", USUAL, every_n_epochs=1)
    check_objective("val/rankme", USUAL, labels=False)
    with pytest.raises(ConfigError, match=r"add it to .* with evaluation.linear=true"):
        check_objective("val/linear_top1", ["knn"])
    with pytest.raises(ConfigError, match=r"needs labels \(data.labels\), and .* validation part"):
        check_objective("val/linear_top1", USUAL, labels=False)


def test_a_score_that_the_validation_part_does_not_allow_is_refused():
    none = {"labels_available": False, "views_available": False, "images_available": False}
    for name, what in [
        ("val/linear_top1_low", "labels"),
        ("val/view_retrieval_top1", "two named views of a specimen"),
        ("val/alignment", "two images of a specimen"),
    ]:
        with pytest.raises(ConfigError, match=f"needs {what}.*Take for example val/rankme"):
            resolve_objective(name, **none)
