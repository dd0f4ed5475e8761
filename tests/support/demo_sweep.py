"""The demo's sweep on a fresh set, at one seed, for the tests of its answer."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hyperspec.cli.train import main
from hyperspec.report.load import load_sweep
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings


def sweep(folder: Path, variant: str, *words: str) -> pd.DataFrame:
    """Run a sweep on a fresh set; return one row per job with its parameters and metrics."""
    specimens = folder / "specimens"
    if not specimens.exists():
        synthesise(specimens, SynthSettings(variant=variant))
    shared = [f"data.root={specimens}", f"data.cache_dir={folder / 'cache'}"]
    shared += ["sweep.report=false"]
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
