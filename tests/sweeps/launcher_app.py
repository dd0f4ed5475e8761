"""A Hydra program with instant jobs for the launchers of conf/, started as a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hyperspec.runs import watchdog
from hyperspec.runs.watchdog import closing
from hyperspec.tracking.cleanup import close_earlier_starts
from hyperspec.tracking.client import connect
from hyperspec.tracking.parent import find_parent
from hyperspec.tracking.run import start_run

ALLOWED = ["hyperspec.*", "hydra.*", "hydra_plugins.*", "logging.*"]


@hydra.main(config_path=None, config_name="app", execution_whitelist=ALLOWED)
def job(config: DictConfig) -> float:
    """Log one run and end as ``behaviour`` says."""
    note = find_parent(Path(HydraConfig.get().sweep.dir))
    assert note is not None
    connection = connect(note.tracking_uri, note.experiment)
    params = {"bands": "uniform", "bands.n": str(config.n), "seed": "0"}
    name = f"uniform n={config.n}"
    tags = {"hyperspec.job": str(HydraConfig.get().sweep.subdir)}
    close_earlier_starts(connection, note.parent_run_id, tags["hyperspec.job"])
    run = start_run(connection, name, parent_run_id=note.parent_run_id, params=params, tags=tags)
    with run, closing(lambda: run.finish("KILLED", "closed by the watchdog")):
        lost = config.n == 20 and (
            config.behaviour == "die" or (config.behaviour == "die_once" and once("died"))
        )
        if lost:
            os.kill(os.getpid(), signal.SIGKILL)
        if config.behaviour == "wait" or (
            config.behaviour == "wait_once" and config.n in (20, 50) and once(f"waited{config.n}")
        ):
            (Path(config.folder) / f"{config.n}.pid").write_text(str(os.getpid()))
            time.sleep(900)
        objective = 1.0 - 1.0 / config.n
        run.log_metrics({"objective": objective, "test/knn_top1": objective})
    return objective


def once(name: str) -> bool:
    """Say whether this is the first call with a name, over all processes."""
    try:
        Path(name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def patience() -> None:
    """Give workers as long to leave as ``leave=SECONDS`` says, before a launcher is imported."""
    for word in sys.argv:
        if word.startswith("leave="):
            watchdog.LEAVE_SECONDS = float(word.partition("=")[2])
            _, over = watchdog.leave_all.__defaults__ or ()
            watchdog.leave_all.__defaults__ = (watchdog.LEAVE_SECONDS, over)


if __name__ == "__main__":
    patience()
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(
        name="app",
        node={
            "study": "band_count",
            "n": 10,
            "behaviour": "well",
            "leave": watchdog.LEAVE_SECONDS,
            "folder": os.getcwd(),
            "tracking": {"uri": "sqlite:///store/mlflow.db", "experiment": "app"},
            "hydra": {
                "callbacks": {"sweep": {"_target_": "hyperspec.sweeps.callback.SweepCallback"}},
                "sweep": {"dir": "out"},
            },
        },
    )
    sys.exit(job())
