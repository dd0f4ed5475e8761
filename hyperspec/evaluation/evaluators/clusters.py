"""How well unsupervised clusters follow the labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.embeddings import Embeddings, normalised
from hyperspec.evaluation.evaluators.registry import Labels, Values, register_evaluator
from hyperspec.evaluation.statistics.intervals import Interval


@register_evaluator("clusters", needs_labels=True)
def run(embeddings: Embeddings) -> Values:
    """Compare k-means clusters with the labels; nothing where all rows share one."""
    from sklearn.metrics import silhouette_samples

    rows = embeddings.rows
    different = len(np.unique(rows.labels))
    if different < 2:
        return {}
    nmi, ari = cluster_agreement(rows.features, rows.labels, seed=embeddings.seed)
    found: dict[str, float | Interval] = {"nmi": nmi, "ari": ari}
    if different < len(rows.labels):
        widths = silhouette_samples(normalised(rows.features), rows.labels, metric="cosine")
        found["silhouette"] = embeddings.averaged(widths, rows.specimens)
    return found


def cluster_agreement(features: ArrayLike, labels: Labels, *, seed: int = 0) -> tuple[float, float]:
    """Cluster features by k-means into as many groups as there are labels, and compare.

    Args:
        features: Features, ``(N, F)``; taken at unit length, so that distances follow cosines.
        labels: Label of each row, ``(N,)``, at least two different ones.
        seed: Seed of the ten k-means starts.

    Returns:
        Normalised mutual information of clusters and labels, 0 to 1, and their adjusted Rand index,
        1 for equal partitions and about 0 by chance.

    Raises:
        ValueError: If there are fewer than two labels.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"Clusters are compared with two labels or more; all are {str(names[0])!r}."
        )
    found = cluster(features, len(names), seed=seed)
    return (
        float(normalized_mutual_info_score(codes, found)),
        float(adjusted_rand_score(codes, found)),
    )


def cluster(features: ArrayLike, num_clusters: int, *, seed: int = 0) -> NDArray[np.intp]:
    """Return the k-means cluster of each row of features ``(N, F)``, taken at unit length.

    Fewer than ``num_clusters`` where there are fewer distinct points (a collapsed encoder).
    """
    from sklearn.cluster import KMeans

    unit = normalised(features)
    most = min(num_clusters, len(np.unique(unit, axis=0)))
    found = KMeans(most, n_init=10, random_state=seed).fit_predict(unit)
    return np.asarray(found, np.intp)
