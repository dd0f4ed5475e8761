"""A short form of the simulation by which intervals and verdicts were chosen."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TRIALS = 1200
NOISE = 0.02  # three standard errors of 0.05 over so many trials


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("record", "truth_model", "truth_sweeps", "bench_truth"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("bench_truth")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("specimens", "accuracy", "seeds", "seed_sd", "rotations"),
    [
        (12, 0.8, 1, 0.0, 1),
        (30, 0.5, 3, 0.0, 1),
        (64, 0.8, 3, 0.045, 1),
        (250, 0.8, 3, 0.045, 1),  # 0.1.0: false verdicts in 10 to 15%
        (100, 0.8, 5, 0.09, 1),
        (64, 0.8, 3, 0.02, 4),
    ],
)
def test_intervals_cover_and_verdicts_hold(
    bench: ModuleType,
    specimens: int,
    accuracy: float,
    seeds: int,
    seed_sd: float,
    rotations: int,
) -> None:
    cell = bench.Cell(specimens, 2, accuracy, seeds, seed_sd, rotations)
    told = bench.measure(cell, TRIALS, np.random.default_rng(1))
    for name, value in told.items():
        if name.endswith("_covered"):
            assert value >= 0.94 - NOISE, name
        if name.startswith("false_"):
            assert value <= 0.06 + NOISE, name


@pytest.mark.slow
def test_training_sets_that_overlap_are_reckoned_with(bench: ModuleType) -> None:
    """A learner that is the same for every seed: only its training sets differ."""
    random = np.random.default_rng(2)
    case = bench.Learner(64, 3, 4, random=False)
    first, second, folds = bench.learned(case, 500, random)
    shares = []
    for known in (folds, None):
        parts = bench.mean_squares(first - second, known)
        shares.append((abs(parts.mean) <= np.sqrt(parts.squared_half_width(0.95))).mean())
    assert shares[0] >= 0.91
    assert shares[1] < shares[0]


def test_what_misses_is_found_and_summed_up(bench: ModuleType) -> None:
    good = {"specimens": 30, "rotations": 1, "accuracy_covered": 0.94, "false_different": 0.05}
    bad = good | {"accuracy_covered": 0.9, "false_different": 0.08}
    assert bench.misses(good) == []
    assert bench.misses(bad) == ["accuracy_covered", "false_different"]
    assert bench.misses(bad | {"specimens": 12, "false_different": 0.0}) == []
    line = bench.summary([good, bad])[2]
    assert "accuracy_covered | 0.900 | 0.920 | 0.940 | 1 below, 0 above of 2" in line
