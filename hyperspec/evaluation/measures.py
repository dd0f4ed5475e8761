"""Every measure of a part's frozen features in one list, with intervals where they make sense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hyperspec.evaluation.embedding_geometry import (
    cluster_agreement,
    pair_distances,
    rankme,
    uniformity,
)
from hyperspec.evaluation.probes import fit_linear_probe, knn_probe, normalised
from hyperspec.evaluation.retrieval import average_precisions, view_retrieval_top1
from hyperspec.evaluation.scores import Held
from hyperspec.evaluation.statistics.bootstrap import bootstrap_interval

RANGES = {
    "knn_top1": "0 to 1",
    "knn_balanced": "0 to 1",
    "linear_top1": "0 to 1",
    "linear_balanced": "0 to 1",
    "knn_other_specimens": "0 to 1",
    "retrieval_map": "0 to 1",
    "retrieval_map_chance": "of unordered rows",
    "nmi": "0 to 1",
    "ari": "0 by chance, at most 1",
    "silhouette": "-1 to 1",
    "view_retrieval_top1": "0 to 1",
    "view_retrieval_chance": "0 to 1",
    "alignment": "0 to 4, lower: nearer",
    "uniformity": "to 0, lower: more even",
    "rankme": "1 to min(rows, features)",
}
"""Every measure with its range, in the order in which reports show them."""


@dataclass(frozen=True)
class Measure:
    """One number about a part's features.

    Args:
        name: A key of :data:`RANGES`.
        value: The number.
        low: Lower end of its 95% interval over specimens; NaN where there is none. Measures of the
            whole cloud (NMI, ARI, uniformity, RankMe, balanced accuracies) have none: a resample
            repeats rows, which moves them by itself.
        high: Upper end.
    """

    name: str
    value: float
    low: float = float("nan")
    high: float = float("nan")


def measure_shape(part: Held, *, num_resamples: int = 2000, seed: int = 0) -> list[Measure]:
    """Measure what needs no labels: retrieval of views, alignment, uniformity, effective rank.

    Args:
        part: Frozen features, two rows at least.
        num_resamples: Bootstrap resamples.
        seed: Seed of the resampling.
    """
    found = [Measure("uniformity", uniformity(part.matrix)), Measure("rankme", rankme(part.matrix))]
    if part.has_views and len(set(part.specimens)) > 1:  # one alone is always found
        retrieval = view_retrieval_top1(part.matrix, part.specimens)
        distances, specimens = pair_distances(part.matrix, part.specimens)
        found += [
            Measure("view_retrieval_chance", retrieval.chance),
            _averaged(
                "view_retrieval_top1", retrieval.correct, part.specimens, num_resamples, seed
            ),
            _averaged("alignment", distances, specimens, num_resamples, seed),
        ]
    return ordered(found)


def measure_labels(
    part: Held, train: Held | None, *, k: int = 5, num_resamples: int = 2000, seed: int = 0
) -> tuple[list[Measure], dict[str, list[str]]]:
    """Measure how features follow one label column.

    With a training part: k-NN and linear probe fitted on it. Without one (labels that training rows
    do not have, such as held-out genera): k-NN among the part's other specimens.

    Args:
        part: Frozen features of held-out rows with their labels; rows without one are left out.
        train: Features of the training part with its labels.
        k: Neighbours.
        num_resamples: Bootstrap resamples.
        seed: Seed of folds, clusters and resampling.

    Returns:
        The measures, and by probe the predicted label of each labelled row.

    Raises:
        ConfigError: If k does not fit the rows.
    """
    rows = part.labelled()
    names = rows.labels
    features, specimens = rows.features, rows.specimens
    found: list[Measure] = []
    predictions: dict[str, list[str]] = {}
    if train is not None:
        known = train.labelled()
        results = {"knn": knn_probe(known.features, known.labels, features, names, k=k)}
        probe = fit_linear_probe(known.features, known.labels, groups=known.specimens, seed=seed)
        results["linear"] = probe.score(features, names)
        for name, result in results.items():
            found += [
                _averaged(f"{name}_top1", result.correct, specimens, num_resamples, seed),
                Measure(f"{name}_balanced", result.balanced),
            ]
            predictions[name] = result.predictions.tolist()
    else:
        said = knn_among_others(features, names.tolist(), specimens, k=k)
        right = [a == b for a, b in zip(said, names, strict=True)]
        found.append(_averaged("knn_other_specimens", right, specimens, num_resamples, seed))
        predictions["knn"] = said
    return ordered([*found, *_structure(part, num_resamples, seed)]), predictions


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


def _structure(part: Held, num_resamples: int, seed: int) -> list[Measure]:
    """Measure retrieval and clusters by label; nothing where all rows share one."""
    from sklearn.metrics import silhouette_samples

    rows = part.labelled()
    names, features, specimens = rows.labels, rows.features, rows.specimens
    different = len(np.unique(names))
    if different < 2:
        return []
    found = []
    precisions = average_precisions(features, names, specimens=specimens)
    if not np.isnan(precisions).all():
        # Rows of one value are all equally near: each row's precision is its label's share.
        blind = average_precisions(np.ones((len(names), 1)), names, specimens=specimens)
        found = [
            _averaged("retrieval_map", precisions, specimens, num_resamples, seed),
            Measure("retrieval_map_chance", float(np.nanmean(blind))),
        ]
    clusters = cluster_agreement(features, names, seed=seed)
    found += [Measure("nmi", clusters.nmi), Measure("ari", clusters.ari)]
    if different < len(names):
        widths = silhouette_samples(normalised(features), names, metric="cosine")
        found.append(_averaged("silhouette", widths, specimens, num_resamples, seed))
    return found


def _averaged(
    name: str, values: ArrayLike, specimens: Sequence[str], num_resamples: int, seed: int
) -> Measure:
    interval = bootstrap_interval(
        np.asarray(values, np.float64), specimens, num_resamples=num_resamples, seed=seed
    )
    return Measure(name, interval.mean, interval.low, interval.high)


def ordered(measures: Sequence[Measure]) -> list[Measure]:
    """Return measures in the order of reports."""
    places = list(RANGES)
    return sorted(measures, key=lambda one: places.index(one.name))


def as_metrics(measures: Sequence[Measure], prefix: str) -> Mapping[str, float]:
    """Return measures by metric name, with ``_low`` and ``_high`` where there is an interval."""
    found = {}
    for one in measures:
        found[f"{prefix}/{one.name}"] = one.value
        if np.isfinite(one.low):
            found |= {f"{prefix}/{one.name}_low": one.low, f"{prefix}/{one.name}_high": one.high}
    return found
