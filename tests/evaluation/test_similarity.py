"""Agreement of two embeddings, against loops."""

from __future__ import annotations

import numpy as np
import pytest

from hyperspec.evaluation.similarity import median_cosine, shared_neighbours
from hyperspec.utils.errors import ConfigError

RNG = np.random.default_rng(0)


def test_cosine_is_the_median_over_rows() -> None:
    x, y = RNG.normal(size=(2, 7, 4))
    expected = [
        float(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in zip(x, y, strict=True)
    ]
    assert median_cosine(x, 3 * y) == pytest.approx(np.median(expected))
    assert median_cosine(x, -x) == pytest.approx(-1)


def test_neighbours_are_those_of_a_loop() -> None:
    x, y = RNG.normal(size=(12, 4)), RNG.normal(size=(12, 9))

    def nearest(z: np.ndarray, row: int) -> set[int]:
        unit = z / np.linalg.norm(z, axis=1, keepdims=True)
        others = [other for other in range(len(z)) if other != row]
        return set(sorted(others, key=lambda other: -float(unit[row] @ unit[other]))[:3])

    expected = np.mean([len(nearest(x, row) & nearest(y, row)) / 3 for row in range(12)])
    assert shared_neighbours(x, y, 3) == pytest.approx(expected)
    assert shared_neighbours(x, 2 * x, 3) == 1
    with pytest.raises(ConfigError, match="12 neighbours were asked for, but each of 12 images"):
        shared_neighbours(x, y, 12)
