"""The demo finds nothing where nothing was planted."""

from __future__ import annotations

from pathlib import Path

import pytest
from demo_sweep import mean_by_bands, sweep

pytestmark = pytest.mark.slow


def test_nothing_is_found_where_nothing_was_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = sweep(tmp_path, "null", "bands.n=10,408", "evaluation.controls=false")
    chance = 1 / 8
    for n, knn in mean_by_bands(jobs, "test/knn_top1").items():
        low = mean_by_bands(jobs, "test/knn_top1_low")[n]
        high = mean_by_bands(jobs, "test/knn_top1_high")[n]
        assert low <= chance <= high, (n, knn, low, high)
