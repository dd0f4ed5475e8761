"""The demo's answer is right: what was planted is found, and nothing where nothing was planted.

The whole pipeline at three seeds; the bounds are those of a trial without it (docs of the recipe).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hyperspec.cli.train import main
from hyperspec.report.load import load_sweep
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

pytestmark = pytest.mark.slow
SEEDS = "seed=0,1,2"


def sweep(folder: Path, variant: str, *words: str) -> pd.DataFrame:
    """Run a sweep on a fresh set; return one row per job with its parameters and metrics."""
    specimens = folder / "specimens"
    if not specimens.exists():
        synthesise(specimens, SynthSettings(variant=variant))
    shared = [f"data.root={specimens}", f"data.cache_dir={folder / 'cache'}"]
    shared += ["evaluation.controls=[untrained,mean_spectrum]"]  # those that are looked at
    store = f"sqlite:///{folder / 'mlflow.db'}"
    sweep_dir = folder / "sweeps" / str(len(list((folder / "sweeps").glob("*"))))
    assert not main(
        [
            *("experiment=demo", f"tracking.uri={store}", f"hydra.sweep.dir={sweep_dir}"),
            *("-m", *shared, *words),
        ]
    )
    return load_sweep(store, [str(sweep_dir)]).jobs


def mean_by_bands(jobs: pd.DataFrame, metric: str) -> pd.Series[float]:
    assert (jobs["status"] == "FINISHED").all(), jobs[["name", "reason"]]
    means: pd.Series[float] = jobs.groupby("n")[f"metrics.{metric}"].mean()
    return means


def test_planted_windows_are_found_where_bands_meet_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = sweep(tmp_path, "planted", "bands.n=10,20,50,100,200,408", SEEDS)
    assert len(jobs) == 18
    knn = mean_by_bands(jobs, "test/knn_top1")
    assert knn[10] <= 0.50
    assert 0.40 <= knn[20] <= 0.70
    for n in (50, 100, 200, 408):
        assert knn[n] >= 0.85, n
        for control in ("untrained", "mean_spectrum"):
            beaten = mean_by_bands(jobs, f"control/{control}_knn_top1")[n]
            assert knn[n] >= beaten + 0.10, (n, control)
    rgb = sweep(tmp_path, "planted", "bands=rgb", SEEDS)
    assert rgb["metrics.test/knn_top1"].mean() <= 0.35


def test_nothing_is_found_where_nothing_was_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = sweep(tmp_path, "null", "bands.n=10,50,408", SEEDS)
    chance = 1 / 8
    for n, knn in mean_by_bands(jobs, "test/knn_top1").items():
        low = mean_by_bands(jobs, "test/knn_top1_low")[n]
        high = mean_by_bands(jobs, "test/knn_top1_high")[n]
        assert low <= chance <= high, (n, knn, low, high)
