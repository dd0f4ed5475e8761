"""The shape of an embedding: effective rank, alignment, uniformity, clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.probes import normalised

Floats: TypeAlias = NDArray[np.float64]
Names: TypeAlias = Sequence[str] | NDArray[np.str_]


def rankme(features: ArrayLike) -> float:
    """Return the effective rank of features: 1 when collapsed, at most min(N, F).

    It needs no labels and is no accuracy: it says how many directions are in use, not whether they
    carry anything.

    Args:
        features: Features as they are, neither centred nor normalised, ``(N, F)``.

    Source:
        Garrido et al. (2023), RankMe, eq. 1-2: p_k = σ_k / ||σ||_1 + ε with ε = 1e-7,
        RankMe = exp(-Σ p_k log p_k).
    """
    singular = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    total = singular.sum()
    if total == 0:
        return 1.0  # all features zero: one point
    share = singular / total + 1e-7
    return float(np.exp(-np.sum(share * np.log(share))))


def alignment(features: ArrayLike, specimens: Names, *, alpha: float = 2.0) -> float:
    """Return the mean distance between views of one specimen: 0 is best, at most 2**alpha.

    Args:
        features: Features, ``(N, F)``; taken at unit length.
        specimens: Specimen of each row, ``(N,)``.
        alpha: Power of the distance, above 0.

    Raises:
        ValueError: If no specimen has two rows.

    Source:
        Wang & Isola (2020), L_align = E ||f(x) - f(y)||^α over positive pairs.
    """
    distances, _ = pair_distances(features, specimens, alpha=alpha)
    return float(np.mean(distances))


def pair_distances(
    features: ArrayLike, specimens: Names, *, alpha: float = 2.0
) -> tuple[Floats, list[str]]:
    """Return the distance of each pair of views of one specimen, and that specimen.

    Args:
        features: Features, ``(N, F)``; taken at unit length.
        specimens: Specimen of each row, ``(N,)``.
        alpha: Power of the distance, above 0.

    Raises:
        ValueError: If no specimen has two rows.
    """
    squared = _squared_distances(features)
    names = np.asarray(specimens)
    first, second = np.triu_indices(len(squared), 1)
    pairs = names[first] == names[second]
    if not pairs.any():
        raise ValueError(f"None of the {len(squared)} rows has another view of its specimen.")
    return squared[first[pairs], second[pairs]] ** (alpha / 2), names[first[pairs]].tolist()


def uniformity(features: ArrayLike, *, t: float = 2.0) -> float:
    """Return how evenly features spread over the sphere: 0 when collapsed, lower is more even.

    Args:
        features: Features, ``(N, F)``, N at least 2; taken at unit length.
        t: Sharpness of the Gaussian kernel, above 0.

    Source:
        Wang & Isola (2020), L_uniform = log E exp(-t ||f(x) - f(y)||²), over distinct rows.
    """
    squared = _squared_distances(features)
    if len(squared) < 2:
        raise ValueError("uniformity needs two rows, one was given.")
    return float(np.log(np.mean(np.exp(-t * squared[np.triu_indices(len(squared), 1)]))))


def _squared_distances(features: ArrayLike) -> Floats:
    unit = normalised(np.asarray(features, np.float64))
    # Explicit differences lose nothing between near views; held-out parts are small.
    return np.asarray([np.sum((unit - row) ** 2, axis=1) for row in unit])


@dataclass(frozen=True)
class Clustering:
    """How well unsupervised clusters follow the labels.

    Args:
        nmi: Normalised mutual information of k-means clusters and labels, 0 to 1.
        ari: Adjusted Rand index of the same, 1 for equal partitions, about 0 by chance.
        silhouette: Mean silhouette of the *labels* by cosine distance, -1 to 1; NaN when each row
            has its own label.
    """

    nmi: float
    ari: float
    silhouette: float


def cluster_agreement(features: ArrayLike, labels: Names, *, seed: int = 0) -> Clustering:
    """Cluster features by k-means into as many groups as there are labels, and compare.

    Args:
        features: Features, ``(N, F)``; taken at unit length, so that distances follow cosines.
        labels: Label of each row, ``(N,)``, at least two different ones.
        seed: Seed of the ten k-means starts.

    Raises:
        ValueError: If there are fewer than two labels.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import (
        adjusted_rand_score,
        normalized_mutual_info_score,
        silhouette_score,
    )

    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"Clusters are compared with two labels or more; all are {str(names[0])!r}."
        )
    unit = normalised(np.asarray(features, np.float64))
    # k-means cannot make more clusters than there are distinct points (a collapsed encoder).
    num_clusters = min(len(names), len(np.unique(unit, axis=0)))
    found = KMeans(num_clusters, n_init=10, random_state=seed).fit_predict(unit)
    scored = len(names) < len(codes)
    return Clustering(
        float(normalized_mutual_info_score(codes, found)),
        float(adjusted_rand_score(codes, found)),
        float(silhouette_score(unit, codes, metric="cosine")) if scored else float("nan"),
    )
