"""The list of measures against what each measure gives alone, and against loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import (
    adjusted_rand_score,
    average_precision_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from hyperspec.evaluation.embeddings import Embeddings, Held
from hyperspec.evaluation.evaluators import BUILT_IN, EVALUATORS
from hyperspec.evaluation.evaluators.knn import knn_among_others
from hyperspec.evaluation.metrics import METRICS
from hyperspec.evaluation.scores import as_metrics, measure
from hyperspec.utils.errors import ConfigError


def measure_shape(part: Held, **options):
    names = [name for name in BUILT_IN if not EVALUATORS[name].needs_labels]
    return measure(Embeddings(part, **options), names)[0]


def measure_labels(part: Held, train: Held | None, **options):
    names = [name for name in BUILT_IN if EVALUATORS[name].needs_labels]
    return measure(Embeddings(part, train, **options), names)


def held(seed: int, num: int = 12, spread: float = 0.5) -> Held:
    """Three classes around axes, two views per specimen; one specimen has no label."""
    random = np.random.default_rng(seed)
    labels = [f"s{i % 3}" for i in range(num) for _ in range(2)]
    specimens = [f"{seed}/{i}" for i in range(num) for _ in range(2)]
    centres = np.eye(5)[[i % 3 for i in range(num) for _ in range(2)]]
    features = centres + spread * random.normal(size=centres.shape)
    known = [None if i < 2 else label for i, label in enumerate(labels)]
    return Held(features, known, specimens, [f"{s}{v}" for v, s in enumerate(specimens)])


@pytest.fixture(scope="module")
def part() -> Held:
    return held(0)


@pytest.fixture(scope="module")
def measured(part):
    found, said = measure_labels(part, held(1))
    return {one.name: one for one in found}, said


def test_structure_is_that_of_scikit_learn(part, measured) -> None:
    found, _ = measured
    x = part.matrix[2:] / np.linalg.norm(part.matrix[2:], axis=1, keepdims=True)
    y = np.asarray(part.labels[2:])
    clusters = KMeans(3, n_init=10, random_state=0).fit_predict(x)
    assert found["nmi"].value == pytest.approx(normalized_mutual_info_score(y, clusters))
    assert found["ari"].value == pytest.approx(adjusted_rand_score(y, clusters))
    assert found["silhouette"].value == pytest.approx(silhouette_score(x, y, metric="cosine"))
    owners = np.asarray(part.specimens[2:])
    precisions = [
        average_precision_score((y == y[i])[owners != owners[i]], (x @ x[i])[owners != owners[i]])
        for i in range(len(y))
    ]
    assert found["retrieval_map"].value == pytest.approx(np.mean(precisions))
    shares = [(y == y[i])[owners != owners[i]].mean() for i in range(len(y))]
    assert found["retrieval_map_chance"].value == pytest.approx(np.mean(shares))


def test_probes_name_every_labelled_row(part, measured) -> None:
    found, said = measured
    truth = part.labels[2:]
    for probe in ("knn", "linear"):
        right = np.mean([a == b for a, b in zip(said[probe], truth, strict=True)])
        one = found[f"{probe}_top1"]
        assert one.value == pytest.approx(right)
        assert one.low <= one.value <= one.high
        assert one.high - one.low < 1
    assert np.isnan(found["nmi"].low)


def test_shape(part) -> None:
    found = {one.name: one for one in measure_shape(part)}
    x = part.matrix / np.linalg.norm(part.matrix, axis=1, keepdims=True)
    pairs = [np.sum((x[i] - x[i + 1]) ** 2) for i in range(0, len(x), 2)]
    assert found["alignment"].value == pytest.approx(np.mean(pairs))
    assert found["alignment"].low < np.mean(pairs) < found["alignment"].high
    kernel = [np.exp(-2 * np.sum((x[i] - x[j]) ** 2)) for i in range(len(x)) for j in range(i)]
    assert found["uniformity"].value == pytest.approx(np.log(np.mean(kernel)))
    assert 1 <= found["rankme"].value <= 5
    assert found["view_retrieval_chance"].value == pytest.approx(1 / 23)
    assert list(found) == [name for name in METRICS if name in found]


def test_one_view_each_leaves_out_what_needs_two() -> None:
    alone = Held(np.eye(4), ["a", "a", "b", "b"], list("wxyz"), list("wxyz"))
    assert {one.name for one in measure_shape(alone)} == {"uniformity", "rankme"}
    one_animal = Held(np.eye(4), ["a"] * 4, ["w"] * 4, list("wxyz"))
    assert {one.name for one in measure_shape(one_animal)} == {"uniformity", "rankme"}


def test_held_out_labels_are_named_by_other_specimens(part) -> None:
    found, said = measure_labels(part, None, k=3)
    rows = part.labelled()
    x = rows.features / np.linalg.norm(rows.features, axis=1, keepdims=True)
    for i, name in enumerate(said["knn"]):
        others = [j for j in range(len(x)) if rows.specimens[j] != rows.specimens[i]]
        nearest = sorted(others, key=lambda j: -(x[i] @ x[j]))[:3]
        votes = [rows.labels[j] for j in nearest]
        if max(map(votes.count, votes)) > 1:
            assert name == max(votes, key=votes.count)
    assert "linear_top1" not in {one.name for one in found}
    with pytest.raises(ConfigError, match=r"evaluation\.k is 99"):
        knn_among_others(x, rows.labels.tolist(), rows.specimens, k=99)


def test_one_label_has_no_structure() -> None:
    same = Held(np.eye(4), ["a"] * 4, list("wwxx"), list("1234"))
    found, said = measure_labels(same, None, k=1)
    assert [one.name for one in found] == ["knn_other_specimens"]
    assert {name: labels.tolist() for name, labels in said.items()} == {"knn": ["a"] * 4}


def test_metric_names(part) -> None:
    metrics = as_metrics(measure_shape(part), "test/")
    assert metrics["test/alignment_low"] < metrics["test/alignment"]
    assert "test/rankme_low" not in metrics
