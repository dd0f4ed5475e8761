"""k nearest neighbours among training rows, or among a part's other specimens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hyperspec.evaluation.embeddings import Embeddings, normalised
from hyperspec.evaluation.evaluators.base import Scores, register_evaluator
from hyperspec.evaluation.probe_result import Labels, ProbeResult, check_features, judge
from hyperspec.utils.errors import ConfigError

# Differences below this are rounding of float32 features, which must not choose neighbours.
_SIMILARITY_DECIMALS = 6


@register_evaluator("knn", needs_labels=True, on_controls=True)
def run(embeddings: Embeddings) -> Scores:
    """Score k-NN fitted on the training part; without one, k-NN among the other specimens."""
    rows, known, k = embeddings.rows, embeddings.known, embeddings.k
    if embeddings.train is None:
        said = np.asarray(
            knn_among_others(rows.features, rows.labels.tolist(), rows.specimens, k=k)
        )
        score = embeddings.averaged(said == rows.labels, rows.specimens)
        return Scores({"knn_other_specimens": score}, said)
    if known is None:
        return Scores({})
    result = knn_probe(known.features, known.labels, rows.features, rows.labels, k=k)
    top1 = embeddings.averaged(result.correct, rows.specimens)
    return Scores({"knn_top1": top1, "knn_balanced": result.balanced}, result.predictions)


def knn_probe(
    train_x: ArrayLike, train_y: Labels, test_x: ArrayLike, test_y: Labels, *, k: int = 5
) -> ProbeResult:
    """Name each row by its k most similar training rows, by cosine.

    Neighbours have one vote each. Labels with equally many votes are told apart by their summed
    similarity, then by name; equally similar rows count in the order in which they are given. A
    row of zeros has similarity 0 to everything.

    Args:
        train_x: Training features, ``(M, F)``.
        train_y: Training labels, ``(M,)``.
        test_x: Features to name, ``(N, F)``.
        test_y: Their true labels, ``(N,)``.
        k: Number of neighbours, 1 to M.

    Raises:
        ConfigError: If k is not between 1 and the number of training rows.
        ValueError: If features are not finite.
    """
    train, test = check_features(train_x, train_y), check_features(test_x, test_y)
    if not 1 <= k <= len(train):
        raise ConfigError(
            f"evaluation.k is {k}, but the training part has {len(train)} labelled rows; choose a "
            f"number of neighbours from 1 to {len(train)}."
        )
    names, codes = np.unique(np.asarray(train_y), return_inverse=True)
    similarity = np.round(normalised(test) @ normalised(train).T, _SIMILARITY_DECIMALS)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    votes = np.zeros((len(test), len(names)))
    summed = np.zeros_like(votes)
    rows = np.arange(len(test))
    for rank in range(k):
        column = codes[nearest[:, rank]]
        votes[rows, column] += 1
        summed[rows, column] += similarity[rows, nearest[:, rank]]
    # A sum of k cosines stays within ±k, so a vote more always outweighs it.
    best = np.argmax(votes + summed / (2 * k + 1), axis=1)
    return judge(names[best], test_y)


def knn_among_others(
    features: ArrayLike, labels: Sequence[str], specimens: Sequence[str], *, k: int
) -> list[str]:
    """Name each row by its k most similar rows of other specimens.

    Args:
        features: Shape ``(N, F)``.
        labels: Label of each row.
        specimens: Specimen of each row.
        k: Neighbours, 1 to the number of rows of the other specimens.

    Raises:
        ConfigError: If k is outside that range.
    """
    matrix = np.asarray(features, np.float64)
    truth, owners = np.asarray(labels), np.asarray(specimens)
    said = np.empty(len(truth), dtype=object)
    for owner in np.unique(owners):
        own = owners == owner
        result = knn_probe(matrix[~own], truth[~own], matrix[own], truth[own], k=k)
        said[own] = result.predictions
    return [str(name) for name in said]
