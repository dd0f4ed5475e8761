"""A Hydra program whose jobs are searched, started by the tests as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from hyperspec.search.plugin import HyperspecSweeper
from hyperspec.search.trial import TrialReporter

ALLOWED = ["hyperspec.*", "hydra.*", "hydra_plugins.*", "logging.*", "optuna.*"]


@hydra.main(config_path=None, config_name="app", execution_whitelist=ALLOWED)
def job(config: DictConfig) -> float:
    """Score x; leave a line for the test; end as ``behaviour`` says."""
    settings = HydraConfig.get()
    reporter = TrialReporter.current(Path(settings.sweep.dir))
    assert reporter is not None
    folder = Path(settings.runtime.output_dir).name
    with open("jobs.txt", "a") as file:
        file.write(f"{reporter.number} {folder} {config.x}\n")
    if config.behaviour == "kill" and reporter.number == 2:
        os.kill(os.getpid(), 9)
    for epoch in range(5):
        # The larger x, the better at every epoch, so that a pruner has an easy task.
        if reporter.report(config.x * (epoch + 1), epoch):
            break
    return float(config.x)


if __name__ == "__main__":
    from hydra.core.config_store import ConfigStore

    Plugins.instance().register(HyperspecSweeper)
    sweeper = {"params": {"x": "interval(0.0,1.0)"}, "storage": "sqlite:///optuna.db"}
    sweeper |= {"study_name": "x-v1", "n_trials": 4, "n_jobs": 1, "sampler": {"seed": 0}}
    node = {
        "defaults": ["_self_", {"override hydra/sweeper": "hyperspec"}],
        "x": 0.0,
        "behaviour": "well",
        "hydra": {"sweeper": sweeper, "sweep": {"dir": "out"}},
    }
    ConfigStore.instance().store(name="app", node=node)
    sys.exit(job())
