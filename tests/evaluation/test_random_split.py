"""A random split of tiles against one by blocks, on scenes whose truth is known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hyperspec.datasets.catalogue.label_map import MapLabels
from hyperspec.datasets.config import Data, TilesData
from hyperspec.datasets.splits import grouped_split
from hyperspec.evaluation.embeddings import Held
from hyperspec.evaluation.random_split import dealt_anew, in_words, random_split_scores
from hyperspec.evaluation.scores import evaluate_features
from hyperspec.testing.synthetic.patchwork import PATCH, write_patchwork
from hyperspec.training.data import column, open_source


def spectra_of(data: Data) -> tuple[Held, dict[str, np.ndarray]]:
    """Mean spectra of the tiles, and the parts of the split by blocks."""
    source = open_source(data)
    planes = source.planes(range(len(source)))
    labels = column(source, "label")
    specimens = [str(name) for name in source.table["specimen"]]
    files = [str(name) for name in source.table["file"]]
    split = grouped_split(labels, specimens, seed=0)
    return Held(planes.mean(axis=(2, 3)), labels, specimens, files), split.parts()


def tiles(root: Path, stride: int) -> TilesData:
    return TilesData(root=str(root), pattern="*", mask="none", tile=PATCH // 2, stride=stride,
                     labels=MapLabels(share=1.0))  # fmt: skip


def scores(root: Path, stride: int, *evaluators: str) -> dict[str, float]:
    held, parts = spectra_of(tiles(root, stride))
    own = {
        name: Held.of(held.matrix[rows], rows, held.labels, held.specimens, held.files)
        for name, rows in parts.items()
    }
    found = evaluate_features(own, evaluators, prefixes={"test": "test/"}).metrics
    return {**found, **random_split_scores(own, evaluators, found, k=5)}


def test_where_spectra_tell_the_place_alone_random_reaches_what_is_not_there(tmp_path: Path):
    """The truth is chance, 1/3: no class has a spectrum of its own."""
    found = scores(write_patchwork(tmp_path, seed=1), 4, "knn")
    # Three standard deviations of a share of 36 patches, whose tiles agree with each other.
    assert abs(found["test/knn_top1"] - 1 / 3) < 3 * np.sqrt(2 / 9 / 36)
    assert found["random_split/knn_top1"] > 0.8
    for name in ("knn_top1", "knn_balanced"):
        inflated = found[f"random_split/{name}"] - found[f"test/{name}"]
        assert found[f"inflation/{name}"] == pytest.approx(inflated)
    assert found["inflation/knn_top1"] > 0.4


def test_where_each_class_has_its_spectrum_both_reach_it(tmp_path: Path):
    root = write_patchwork(tmp_path, seed=2, separation=0.2, place=0.005)
    found = scores(root, 8, "knn", "linear")
    assert found["test/knn_top1"] > 0.98
    assert max(abs(found[f"inflation/{name}_top1"]) for name in ("knn", "linear")) < 0.02


def test_only_the_place_of_rows_changes():
    labels = ["a"] * 6 + [None] * 3 + ["b"] * 4
    parts = np.array([0, 0, 0, 1, 1, 2, 0, 1, 2, 0, 1, 2, 2])
    anew = dealt_anew(labels, parts, np.random.default_rng(0))
    assert Counter(zip(labels, anew.tolist(), strict=True)) == Counter(
        zip(labels, parts.tolist(), strict=True)
    )
    draws = {tuple(dealt_anew(labels, parts, np.random.default_rng(s))) for s in range(9)}
    assert len(draws) > 5


def test_words_name_accuracy_and_inflation():
    lines = list(
        in_words(
            {
                "test/knn_top1": 0.4,
                "random_split/knn_top1": 0.9,
                "inflation/knn_top1": 0.5,
                "random_split/knn_balanced": 0.8,
                "inflation/knn_balanced": 0.45,
            }
        )
    )
    assert lines == ["k-NN, images split at random: 0.900 (balanced 0.800), inflated by +0.500"]
    assert not list(in_words({"test/knn_top1": 0.4}))
