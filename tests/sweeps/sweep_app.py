"""A Hydra program with instant jobs, started by the tests as a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hyperspec.tracking.client import connect
from hyperspec.tracking.parent import find_parent
from hyperspec.tracking.run import start_run

ALLOWED = ["hyperspec.*", "hydra.*", "hydra_plugins.*", "logging.*", "optuna.*"]


@hydra.main(config_path=None, config_name="app", execution_whitelist=ALLOWED)
def job(config: DictConfig) -> float:
    """Log one run and end as ``behaviour`` says."""
    note = find_parent(Path(HydraConfig.get().sweep.dir))
    assert note is not None
    connection = connect(note.tracking_uri, note.experiment)
    params = {"bands": "uniform", "bands.n": str(config.n), "seed": str(config.seed)}
    run = start_run(
        connection, f"uniform n={config.n}", parent_run_id=note.parent_run_id, params=params
    )
    if config.behaviour == "orphan":
        return 0.5
    with run:
        if config.behaviour == "fail" and config.n == 20:
            raise RuntimeError("planned failure")
        if config.behaviour == "wait":
            print("waiting", flush=True)
            time.sleep(60)
        if config.behaviour == "kill":
            os.kill(os.getpid(), 9)
        objective = 1.0 - 1.0 / config.n
        run.log_metrics({"objective": objective, "test/knn_top1": objective})
    return objective


if __name__ == "__main__":
    # Started behind a shell's `&`, a process inherits that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(
        name="app",
        node={
            "study": "band_count",
            "n": 10,
            "seed": 0,
            "behaviour": "well",
            "tracking": {"uri": "sqlite:///store/mlflow.db", "experiment": "app"},
            "hydra": {
                "callbacks": {"sweep": {"_target_": "hyperspec.sweeps.callback.SweepCallback"}},
                "sweep": {"dir": "out"},
            },
        },
    )
    sys.exit(job())
