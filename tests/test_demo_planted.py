"""The demo finds what was planted.

The whole pipeline at one seed; the bounds are those of a trial without it (docs of the recipe).
Apart from its twin without anything to find, so that two processes share them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from demo_sweep import mean_by_bands, sweep

pytestmark = pytest.mark.slow


def test_planted_windows_are_found_where_bands_meet_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    controls = "evaluation.controls=[untrained,mean_spectrum]"  # those that are looked at
    jobs = sweep(tmp_path, "planted", "bands.n=10,50,408", controls)
    assert len(jobs) == 3
    knn = mean_by_bands(jobs, "test/knn_top1")
    assert knn[10] <= 0.50
    for n in (50, 408):
        assert knn[n] >= 0.85, n
        for control in ("untrained", "mean_spectrum"):
            beaten = mean_by_bands(jobs, f"control/{control}_knn_top1")[n]
            assert knn[n] >= beaten + 0.10, (n, control)
    rgb = sweep(tmp_path, "planted", "bands=rgb", "evaluation.controls=false")
    assert rgb["metrics.test/knn_top1"].mean() <= 0.35
