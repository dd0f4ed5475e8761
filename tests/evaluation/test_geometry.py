"""Rank, alignment, uniformity and clusters: closed forms, loops, scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

from hyperspec.evaluation.evaluators.alignment import pair_distances, uniformity
from hyperspec.evaluation.evaluators.clusters import cluster_agreement
from hyperspec.evaluation.evaluators.rankme import rankme


def alignment(features, specimens, **options) -> float:
    return float(np.mean(pair_distances(features, specimens, **options)[0]))


def test_rankme_closed_forms():
    assert rankme(np.outer(np.arange(1, 9), [1.0, 2.0, 3.0])) == pytest.approx(1.0, abs=1e-4)
    # Orthogonal columns of equal length use all directions alike.
    assert rankme(np.vstack([np.eye(6), np.eye(6)])) == pytest.approx(6.0, rel=1e-4)
    # Singular values 3 and 1: shares 3/4 and 1/4.
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert rankme(np.diag([3.0, 1.0])) == pytest.approx(expected, rel=1e-5)
    assert rankme(np.zeros((5, 3))) == 1.0


def test_rankme_does_not_see_scale_or_rotation():
    random = np.random.default_rng(0)
    features = random.normal(size=(30, 5)) * [1, 2, 3, 4, 5]
    rotation = np.linalg.qr(random.normal(size=(5, 5)))[0]
    assert rankme(7 * features @ rotation) == pytest.approx(rankme(features))
    eigenvalues = np.linalg.eigvalsh(features.T @ features)
    share = np.sqrt(eigenvalues) / np.sqrt(eigenvalues).sum()
    assert rankme(features) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)


def test_alignment_and_uniformity_against_loops():
    random = np.random.default_rng(1)
    features = random.normal(size=(12, 4))
    specimens = [str(i // 3) for i in range(12)]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    near, kernel = [], []
    for i, j in itertools.combinations(range(12), 2):
        distance = np.linalg.norm(unit[i] - unit[j])
        kernel.append(np.exp(-2 * distance**2))
        if specimens[i] == specimens[j]:
            near.append(distance)
    assert alignment(features, specimens) == pytest.approx(np.mean(np.square(near)))
    assert alignment(features, specimens, alpha=1) == pytest.approx(np.mean(near))
    assert uniformity(features) == pytest.approx(np.log(np.mean(kernel)))


def test_alignment_and_uniformity_at_their_ends():
    opposite = np.array([[1.0, 0.0], [-2.0, 0.0]])
    assert alignment(opposite, ["a", "a"]) == pytest.approx(4.0)
    assert uniformity(opposite) == pytest.approx(-8.0)
    assert alignment(np.ones((4, 3)), ["a", "a", "b", "b"]) == 0.0
    assert uniformity(np.ones((4, 3))) == 0.0


def test_clusters_against_scikit_learn():
    random = np.random.default_rng(2)
    labels = np.repeat(list("abc"), 12)
    features = np.repeat(np.eye(3) * 1.5, 12, axis=0) + random.normal(0, 0.7, (36, 3))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = KMeans(3, n_init=10, random_state=4).fit_predict(unit)
    result = cluster_agreement(features, labels, seed=4)
    assert result.nmi == pytest.approx(normalized_mutual_info_score(labels, found))
    assert result.ari == pytest.approx(adjusted_rand_score(labels, found))
    assert result.silhouette == pytest.approx(silhouette_score(features, labels, metric="cosine"))
    assert 0.2 < result.ari < 1.0


def test_clusters_at_their_ends():
    labels = np.repeat(list("abc"), 5)
    perfect = cluster_agreement(np.repeat(np.eye(3), 5, axis=0), labels)
    assert (perfect.nmi, perfect.ari, perfect.silhouette) == pytest.approx((1, 1, 1))
    collapsed = cluster_agreement(np.ones((15, 3)), labels)
    assert (collapsed.nmi, collapsed.ari) == (0, 0)
    alone = cluster_agreement(np.eye(3), ["a", "b", "c"])
    assert np.isnan(alone.silhouette)
    assert alone.ari == 1.0


def test_what_cannot_be_measured():
    with pytest.raises(ValueError, match="None of the 2 rows has another view"):
        alignment(np.eye(2), ["a", "b"])
    with pytest.raises(ValueError, match="needs two rows"):
        uniformity(np.eye(1))
    with pytest.raises(ValueError, match="all are 'a'"):
        cluster_agreement(np.eye(2), ["a", "a"])
