"""The study on a labelled scene: what its splits keep apart, and what its table says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

STUDY = Path(__file__).parents[1] / "experiments" / "indian_pines"


@pytest.fixture
def bands(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(STUDY)
    for name in ("scene", "bands"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("bands")


def scene_of_fields(size: int, seed: int) -> np.ndarray:
    """Fields of three classes and of none, and a fourth class in a single corner."""
    classes = np.random.default_rng(seed).integers(-1, 3, (size // 8, size // 8))
    pixels = np.kron(classes, np.ones((8, 8), int))
    pixels[:3, :3] = 3
    return pixels


def test_a_random_split_has_a_share_of_each_class(bands: ModuleType) -> None:
    classes = scene_of_fields(80, 0).ravel()
    train, test = bands.random_split(classes, np.random.default_rng(1))
    assert not set(train) & set(test)
    assert {*train, *test} == {*np.flatnonzero(classes >= 0)}
    for name in range(4):
        total = int((classes == name).sum())
        assert (classes[train] == name).sum() == max(round(0.1 * total), bands.LEAST)


def test_blocks_keep_training_and_test_pixels_apart(bands: ModuleType) -> None:
    classes = scene_of_fields(80, 0)
    for seed in range(3):
        train, test, both = bands.block_split(classes.ravel(), 80, np.random.default_rng(seed))
        assert (
            {*np.unique(classes.ravel()[train])} == {*both} == {*np.unique(classes.ravel()[test])}
        )
        assert 3 not in both  # it lies in one block
        sides = np.zeros((80, 80), int)
        sides.ravel()[train], sides.ravel()[test] = 1, 2
        # A block is on one side: nowhere do both occur within a block's lines and samples.
        shift = np.random.default_rng(seed).integers(0, bands.BLOCK, 2)
        rows, columns = (np.arange(80) + shift[i] for i in range(2))
        for row in np.unique(rows // bands.BLOCK):
            for column in np.unique(columns // bands.BLOCK):
                inside = sides[rows // bands.BLOCK == row][:, columns // bands.BLOCK == column]
                assert not {1, 2} <= {*inside.ravel()}


def test_a_table_has_means_and_their_intervals(bands: ModuleType) -> None:
    def row(seed: int, strategy: str, n: int, overall: float) -> dict[str, object]:
        common = {"seed": seed, "split": "random", "strategy": strategy, "n": n}
        return {**common, "overall": overall}

    rows = [row(s, "uniform", 5, 0.5 + 0.1 * s) for s in range(3)]
    rows += [row(s, "opbs", 5, 0.9) for s in range(3)] + [row(s, "full", 9, 0.8) for s in range(3)]
    text = bands.table(rows, "random", "overall")
    # 0.5, 0.6, 0.7: t of two degrees of freedom, 4.303, times 0.1 over the root of three
    assert "| uniform | 0.600 ± 0.248 |" in text
    assert text.index("| opbs | 0.900 ± 0.000 |") < text.index("| uniform |")
    assert text.endswith("All 9 bands: 0.800 ± 0.000.")


def test_the_scene_is_the_published_one(bands: ModuleType) -> None:
    pytest.importorskip("tensorly", reason="the extra 'studies' is not installed")
    cube, classes, axis = sys.modules["scene"].load()
    assert cube.shape == (145, 145, 200)
    assert len(axis) == 200
    counts = np.bincount(classes[classes >= 0])
    # Pixels of each class as they are published with the scene.
    assert counts.tolist() == [
        *(46, 1428, 830, 237, 483, 730, 28, 478, 20, 972, 2455, 593, 205, 1265, 386, 93)
    ]
