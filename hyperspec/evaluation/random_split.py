"""How much a random split flatters: probes once more, with images dealt without regard to place.

Tiles beside each other overlap or are alike, and so are two views of one animal. Where such images
fall on both sides of a split, probes find the neighbour instead of the class. The scores of a
random split beside those of the split that keeps them apart say by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hyperspec.evaluation.embeddings import Held
from hyperspec.evaluation.metrics import METRICS
from hyperspec.evaluation.scores import evaluate_features

# Random splits that are averaged: of hundreds of tiles each, they differ by a point or so.
NUM_DRAWS = 3
PREFIX, INFLATION = "random_split/", "inflation/"
_PARTS = ("train", "validation", "test")


def dealt_anew(
    labels: Sequence[str | None], parts: NDArray[np.intp], random: np.random.Generator
) -> NDArray[np.intp]:
    """Permute the parts of rows among the rows of each label.

    So every part keeps its number of rows of each label: nothing but their place changes.

    Args:
        labels: Label of each row, ``(N,)``; None where unknown.
        parts: Part of each row, ``(N,)``.
        random: Source of the permutation.
    """
    out = parts.copy()
    names = np.asarray(["" if label is None else f"={label}" for label in labels])
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        out[rows] = parts[random.permutation(rows)]
    return out


def random_split_scores(
    parts: Mapping[str, Held], evaluators: Sequence[str], scores: Mapping[str, float], *, k: int
) -> dict[str, float]:
    """Score the test part of random splits, and how far that lies above the split's own score.

    The features stay as they are: what is fitted anew are the probes. An encoder that trains on a
    random split too has seen the neighbours of its test part, which flatters once more.

    Args:
        parts: Features of ``train``, ``validation`` and ``test``.
        evaluators: Names of probes.
        scores: Metrics of the split itself, ``test/...``.
        k: Neighbours of the k-NN probe.

    Returns:
        ``random_split/<metric>``, the mean of three splits, and ``inflation/<metric>``, that less
        the split's own score; empty without labels.
    """
    held = [parts[name] for name in _PARTS]
    part_of = np.repeat(range(len(held)), [len(one.files) for one in held])
    rows = Held(
        np.concatenate([one.matrix for one in held]),
        [label for one in held for label in one.labels],
        # Each image by itself, as if it were a specimen: probes choose their settings alike.
        [file for one in held for file in one.files],
        [file for one in held for file in one.files],
    )
    drawn: dict[str, list[float]] = {}
    for seed in range(NUM_DRAWS):
        anew = dealt_anew(rows.labels, part_of, np.random.default_rng(seed))
        found = evaluate_features(
            {name: _some(rows, np.flatnonzero(anew == i)) for i, name in enumerate(_PARTS)},
            evaluators,
            k=k,
            prefixes={"test": PREFIX},
        ).metrics
        for name, value in found.items():
            drawn.setdefault(name.removeprefix(PREFIX), []).append(value)
    means = {
        name: float(np.mean(values))
        for name, values in drawn.items()
        if name in METRICS and f"test/{name}" in scores and METRICS[name].objective
    }
    inflated = {name: value - scores[f"test/{name}"] for name, value in means.items()}
    return {f"{PREFIX}{name}": value for name, value in means.items()} | {
        f"{INFLATION}{name}": value for name, value in inflated.items()
    }


def in_words(metrics: Mapping[str, float]) -> Iterator[str]:
    """Yield what a run prints of its random splits, a line for each accuracy."""
    for row in METRICS.values():
        inflated = metrics.get(f"{INFLATION}{row.name}")
        if row.is_accuracy and inflated is not None:
            even = metrics.get(f"{PREFIX}{row.evaluator}_balanced")
            balanced = "" if even is None else f" (balanced {even:.3f})"
            score = metrics[f"{PREFIX}{row.name}"]
            yield (
                f"{row.title}, images split at random: {score:.3f}{balanced}, inflated by "
                f"{inflated:+.3f}"
            )


def _some(held: Held, rows: NDArray[np.intp]) -> Held:
    return replace(
        held,
        features=held.matrix[rows],
        labels=[held.labels[row] for row in rows],
        specimens=[held.specimens[row] for row in rows],
        files=[held.files[row] for row in rows],
    )
