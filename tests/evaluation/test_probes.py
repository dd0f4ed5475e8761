"""Probes against scikit-learn and against loops."""

from __future__ import annotations

import warnings
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hyperspec.evaluation.evaluators import linear as probes
from hyperspec.evaluation.evaluators.knn import knn_probe
from hyperspec.evaluation.evaluators.linear import C_GRID, fit_linear_probe
from hyperspec.evaluation.evaluators.registry import balanced_accuracy
from hyperspec.utils.errors import ConfigError


def blobs(num_features: int, seed: int = 0, per_label: int = 12, spread: float = 1.0):
    """Four labels, two rows per specimen; returns features, labels, groups."""
    random = np.random.default_rng(seed)
    labels = np.repeat(list("abcd"), per_label)
    centres = np.random.default_rng(99).normal(0, 1, (4, num_features))
    features = np.repeat(centres, per_label, axis=0) * 1.2
    features = features + spread * random.normal(0, 1, features.shape)
    groups = [f"{label}/{i % per_label // 2}" for i, label in enumerate(labels)]
    # Columns of very different scales, as unstandardised features have them.
    return features * np.logspace(-2, 2, num_features) + 3.0, labels, groups


def knn_by_loops(train_x, train_y, test_x, k):
    predictions = []
    for row in test_x:
        ranked = sorted(
            (-float(np.dot(row, other) / np.linalg.norm(row) / np.linalg.norm(other)), i)
            for i, other in enumerate(train_x)
        )
        votes = defaultdict(lambda: [0, 0.0])
        for minus, i in ranked[:k]:
            votes[train_y[i]][0] += 1
            votes[train_y[i]][1] -= minus
        predictions.append(max(sorted(votes), key=lambda label: tuple(votes[label])))
    return predictions


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), k=st.integers(1, 9))
def test_knn_against_loops_with_votes_tied_by_summed_similarity(seed, k):
    random = np.random.default_rng(seed)
    train_x, test_x = random.normal(size=(20, 4)), random.normal(size=(12, 4))
    train_y, test_y = random.choice(list("abc"), 20), random.choice(list("abc"), 12)
    result = knn_probe(train_x, train_y, test_x, test_y, k=k)
    assert result.predictions.tolist() == knn_by_loops(train_x, train_y, test_x, k)
    np.testing.assert_array_equal(result.correct, result.predictions == test_y)
    assert result.top1 == np.mean(result.predictions == test_y)


def test_knn_against_scikit_learn_for_two_labels_and_odd_k():
    random = np.random.default_rng(0)
    train_x, test_x = random.normal(size=(80, 6)), random.normal(size=(60, 6))
    train_y, test_y = random.choice(["x", "y"], 80), random.choice(["x", "y"], 60)
    reference = KNeighborsClassifier(5, metric="cosine").fit(train_x, train_y)
    result = knn_probe(train_x, train_y, test_x, test_y)
    assert result.predictions.tolist() == reference.predict(test_x).tolist()
    assert result.balanced == pytest.approx(balanced_accuracy_score(test_y, result.predictions))


def test_knn_tie_by_hand():
    # One vote each: b is nearer. With the similarities alike, the earlier name wins.
    result = knn_probe([[1, 0.5], [1, 0.1]], ["a", "b"], [[1.0, 0.0]], ["b"], k=2)
    assert result.predictions.tolist() == ["b"]
    even = knn_probe([[1, -0.5], [1, 0.5]], ["b", "a"], [[1.0, 0.0]], ["a"], k=2)
    assert even.predictions.tolist() == ["a"]
    # Two votes beat one however near the one is.
    outvoted = knn_probe([[1, 0], [-1, 0.1], [-1, 0.2]], ["a", "b", "b"], [[1.0, 0.0]], ["b"], k=3)
    assert outvoted.predictions.tolist() == ["b"]


def test_knn_is_blind_to_the_length_of_features_and_bears_zeros():
    train_x, train_y, _ = blobs(8)
    test_x, test_y, _ = blobs(8, seed=1)
    first = knn_probe(train_x, train_y, test_x, test_y)
    scaled = knn_probe(train_x * 7, train_y, test_x * np.arange(1, 49)[:, None], test_y)
    assert first.predictions.tolist() == scaled.predictions.tolist()
    collapsed = knn_probe(np.zeros((48, 8)), train_y, np.zeros((48, 8)), test_y)
    assert collapsed.top1 == 0.25


@pytest.mark.parametrize("k", [0, 49])
def test_knn_checks_k(k):
    x, y, _ = blobs(3)
    with pytest.raises(ConfigError, match=rf"evaluation.k is {k}, .* 48 labelled rows"):
        knn_probe(x, y, x, y, k=k)


def reference_search(train_x, train_y, groups, seed=0):
    """The same choice by scikit-learn's own grid search over a pipeline, each fit started cold."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=20_000, tol=1e-6))
    search = GridSearchCV(
        pipeline,
        {"logisticregression__C": list(C_GRID)},
        scoring="neg_log_loss",
        cv=StratifiedGroupKFold(4, shuffle=True, random_state=seed),
    )
    return search.fit(train_x, train_y, groups=groups)


@pytest.mark.parametrize("num_features", [5, 90])
def test_linear_probe_against_grid_search(num_features):
    # 90 features for 48 rows takes the path through the span of the training rows.
    train_x, train_y, groups = blobs(num_features, spread=2.0 if num_features == 5 else 4.0)
    test_x, test_y, _ = blobs(num_features, seed=1, spread=2.0 if num_features == 5 else 4.0)
    search = reference_search(train_x, train_y, groups)
    result = fit_linear_probe(train_x, train_y, groups=groups).score(test_x, test_y)
    assert search.best_params_ == {"logisticregression__C": result.C}
    assert np.mean(result.predictions == search.predict(test_x)) >= 47 / 48
    assert 0.4 < result.top1 < 1.0
    assert result.converged


@pytest.mark.parametrize("labels", ["ab", "abcd"])
def test_the_search_for_c_solves_what_scikit_learn_does(labels):
    features, truth, _ = blobs(20, spread=4.0)
    chosen = np.flatnonzero(np.isin(truth, list(labels)))
    codes = np.unique(truth, return_inverse=True)[1]
    inside, outside = chosen[::2], chosen[1::2]
    fold = probes._Fold.of(features, codes, inside, outside)
    scaler = StandardScaler().fit(features[inside])
    for strength in (0.01, 0.1, 1.0):  # the second and third go on from the one before
        model = LogisticRegression(C=strength, max_iter=3000, tol=1e-8)
        model.fit(scaler.transform(features[inside]), codes[inside])
        chances = model.predict_proba(scaler.transform(features[outside]))
        loss = log_loss(codes[outside], chances, normalize=False)
        assert fold.loss(strength) == pytest.approx(loss, rel=1e-3)


def test_the_span_of_the_training_rows_gives_the_same_probabilities():
    train_x, train_y, _ = blobs(90, spread=4.0)
    test_x, _, _ = blobs(90, seed=1, spread=4.0)
    scaler = StandardScaler().fit(train_x)
    plain = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8).fit(
        scaler.transform(train_x), train_y
    )
    scaling = probes._Scaling.fit(train_x)
    short = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8).fit(scaling(train_x), train_y)
    assert scaling(train_x).shape[1] < 48
    np.testing.assert_allclose(
        short.predict_proba(scaling(test_x)),
        plain.predict_proba(scaler.transform(test_x)),
        atol=1e-5,
    )


def test_scaling_of_features_does_not_change_the_linear_probe():
    train_x, train_y, groups = blobs(5, spread=2.0)
    test_x, test_y, _ = blobs(5, seed=1, spread=2.0)
    first = fit_linear_probe(train_x, train_y, groups=groups).score(test_x, test_y)
    factors = np.logspace(-3, 3, 5)
    second = fit_linear_probe(train_x * factors, train_y, groups=groups).score(
        test_x * factors, test_y
    )
    assert first.predictions.tolist() == second.predictions.tolist()


def test_choice_of_c_never_splits_a_specimen():
    # Rows of one specimen are identical and labels are random: a fold that split specimens would
    # find C = 1000 perfect, an honest one finds nothing and takes a small C.
    random = np.random.default_rng(0)
    features = np.repeat(random.normal(size=(30, 40)), 2, axis=0)
    labels = np.repeat(random.permutation(np.repeat(["a", "b"], 15)), 2)
    groups = [str(i // 2) for i in range(60)]
    assert fit_linear_probe(features, labels, groups=groups).C <= 0.01
    split = fit_linear_probe(features, labels, groups=[str(i) for i in range(60)])
    assert split.C >= 10


def test_collapsed_features_give_chance_without_a_warning():
    _, labels, groups = blobs(3)
    for num_features in (3, 60):
        features = np.full((48, num_features), 0.1)
        result = fit_linear_probe(features, labels, groups=groups).score(features, labels)
        assert result.top1 == 0.25
        assert result.C == 0.001


def test_a_label_with_one_specimen_takes_c_one(caplog):
    x, y, groups = blobs(4)
    keep = [i for i, group in enumerate(groups) if not group.startswith("a") or group == "a/0"]
    probe = fit_linear_probe(x[keep], y[keep], groups=[groups[i] for i in keep])
    assert probe.C == 1.0
    assert "A label has a single training specimen" in caplog.text


def test_a_probe_that_stops_early_says_so(monkeypatch, caplog):
    monkeypatch.setattr(probes, "_MAX_ITERATIONS", 2)
    x, y, groups = blobs(6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        result = fit_linear_probe(x, y, groups=groups).score(x, y)
    assert not result.converged
    assert "stopped at 2 iterations" in caplog.text


def test_errors():
    x, _, groups = blobs(3)
    with pytest.raises(ConfigError, match=r"one label only \('a'\); a linear probe needs two"):
        fit_linear_probe(x, ["a"] * 48, groups=groups)
    with pytest.raises(ValueError, match=r"shape \(48, 3\) do not fit 2 labels"):
        knn_probe(x, ["a", "b"], x, ["a", "b"])
    broken = x.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match="row 7 are not finite; the encoder has diverged"):
        knn_probe(broken, ["a"] * 48, x, ["a"] * 48)


def test_balanced_accuracy_by_hand_and_against_scikit_learn():
    assert balanced_accuracy(["a", "a", "a", "b"], ["a", "a", "b", "b"]) == pytest.approx(5 / 6)
    random = np.random.default_rng(1)
    truth, named = random.choice(list("abc"), 50), random.choice(list("abc"), 50)
    assert balanced_accuracy(truth, named) == pytest.approx(balanced_accuracy_score(truth, named))
