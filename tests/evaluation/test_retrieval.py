"""Retrieval against loops and scikit-learn; ties; chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from hyperspec.evaluation.evaluators.retrieval import average_precisions
from hyperspec.evaluation.evaluators.view_retrieval import view_retrieval_top1


def views(seed: int = 0, num: int = 15, noise: float = 0.5):
    random = np.random.default_rng(seed)
    animals = np.repeat(random.normal(size=(num, 6)), 2, axis=0)
    return animals + noise * random.normal(size=animals.shape), [
        str(i // 2) for i in range(2 * num)
    ]


def test_view_retrieval_against_loops():
    features, specimens = views()
    similarity = cosine_similarity(features)
    expected = []
    for i in range(30):
        best = max((j for j in range(30) if j != i), key=lambda j: similarity[i, j])
        expected.append(float(specimens[best] == specimens[i]))
    found = view_retrieval_top1(features, specimens)
    np.testing.assert_array_equal(found.correct, expected)
    assert found.top1 == pytest.approx(np.mean(expected))
    assert 0.2 < found.top1 < 0.9
    assert found.chance == pytest.approx(1 / 29)


def test_perfect_views_and_their_order():
    features, specimens = views(noise=0.01)
    assert view_retrieval_top1(features, specimens).top1 == 1.0
    order = np.random.default_rng(1).permutation(30)
    noisy, _ = views(noise=1.2)
    first = view_retrieval_top1(noisy, specimens)
    second = view_retrieval_top1(noisy[order], [specimens[i] for i in order])
    np.testing.assert_array_equal(second.correct, first.correct[order])


def test_a_collapsed_encoder_scores_chance():
    found = view_retrieval_top1(np.ones((12, 4), np.float32), [str(i // 3) for i in range(12)])
    assert found.top1 == pytest.approx(2 / 11)
    assert found.chance == pytest.approx(2 / 11)


def test_specimens_with_one_view_are_candidates_but_do_not_ask():
    features = np.array([[1.0, 0.0], [0.9, 0.3], [1.0, 0.05]])
    found = view_retrieval_top1(features, ["a", "a", "alone"])
    np.testing.assert_array_equal(found.correct, [0.0, 0.0, np.nan])
    assert found.chance == 0.5
    with pytest.raises(ValueError, match="None of the 2 rows has another view of its specimen"):
        view_retrieval_top1(np.eye(2), ["a", "b"])


def test_mean_average_precision_against_scikit_learn():
    random = np.random.default_rng(2)
    features, labels = random.normal(size=(40, 5)), random.choice(list("abc"), 40)
    similarity = cosine_similarity(features)
    expected = []
    for i in range(40):
        rest = np.arange(40) != i
        expected.append(average_precision_score(labels[rest] == labels[i], similarity[i, rest]))
    assert average_precisions(features, labels).mean() == pytest.approx(np.mean(expected))


def test_other_views_of_the_asking_specimen_can_be_left_out():
    features, specimens = views(seed=3)
    labels = np.array([("x", "y", "z")[int(name) % 3] for name in specimens])
    similarity = cosine_similarity(features)
    expected = []
    for i in range(30):
        rest = np.array([name != specimens[i] for name in specimens])
        expected.append(average_precision_score(labels[rest] == labels[i], similarity[i, rest]))
    found = average_precisions(features, labels, specimens=specimens).mean()
    assert found == pytest.approx(np.mean(expected))
    # Finding the animal is easy here, finding its species is not.
    assert average_precisions(features, labels).mean() > found + 0.05


def test_tied_ranks_count_together_as_in_scikit_learn():
    features = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [1, 1.0]])
    labels = np.array(["a", "a", "b", "b", "a"])
    similarity = np.round(cosine_similarity(features), 9)
    expected = [
        average_precision_score(np.delete(labels, i) == labels[i], np.delete(similarity[i], i))
        for i in range(5)
    ]
    assert average_precisions(features, labels).mean() == pytest.approx(np.mean(expected))


def test_nothing_to_find():
    assert np.isnan(average_precisions(np.eye(2), ["a", "b"])).all()
    with pytest.raises(ValueError, match=r"shape \(2, 2\) do not fit 1 rows"):
        average_precisions(np.eye(2), ["a"])
