"""Sweeps through real ``sbatch`` on a SLURM of one node: cancelled, requeued, resumed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from omegaconf import OmegaConf
from slurm_cluster import missing_programs, slurm_cluster
from tracked import runs_of

from hyperspec.config import config_dir
from hyperspec.sweeps.launchers.launcher import check_launcher
from hyperspec.utils.errors import ConfigError

APP = Path(__file__).with_name("launcher_app.py")
NAMES = [str(n) for n in range(10, 70, 10)]


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    pytest.importorskip("submitit", reason="submitit is not installed (extra slurm)")
    if missing := missing_programs():
        pytest.skip(f"SLURM is not installed: {', '.join(missing)} (slurm-wlm, munge)")
    with slurm_cluster() as environment:
        yield {**environment, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    words = ["hydra/launcher=submitit_slurm", f"hydra.searchpath=[file://{config_dir()}]"]
    words += ["hydra.launcher.timeout_min=60", "behaviour=wait_once", "+sweep.report=false"]
    return subprocess.Popen(
        [sys.executable, str(APP), *words, "-m", f"n={','.join(NAMES)}"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def jobs(folder: Path, parent: Run) -> dict[str, list[str]]:
    """How the runs under a parent ended, by their number of bands; requeued ones are marked."""
    found: dict[str, list[str]] = {}
    for run in runs_of(f"sqlite:///{folder}/store/mlflow.db", "app"):
        if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id:
            marked = " requeued" * ("hyperspec.requeued" in run.data.tags)
            found.setdefault(run.data.params["bands.n"], []).append(run.info.status + marked)
    return found


def parents(folder: Path) -> list[Run]:
    found = runs_of(f"sqlite:///{folder}/store/mlflow.db", "app")
    return [run for run in found if run.data.tags["hyperspec.kind"] == "sweep"]


@pytest.mark.slow
def test_one_is_cancelled_and_one_requeued(slurm: dict[str, str], tmp_path: Path) -> None:
    """The jobs of 20 and 50 bands wait at their first start: for scancel, and to be preempted."""
    (tmp_path / "store").mkdir()
    process = start(tmp_path, slurm)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("*.pid"))) < 2:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    listed = subprocess.run(
        ["squeue", "-rh", "-o", "%i"], env=slurm, capture_output=True, text=True, check=True
    )
    ids = {line.rpartition("_")[2]: line for line in listed.stdout.split()}
    assert {"1", "4"} <= set(ids)
    subprocess.run(["scontrol", "requeue", ids["4"]], env=slurm, check=True)
    subprocess.run(["scancel", ids["1"]], env=slurm, check=True)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1, output
    assert f"SLURM's job {ids['1']} ended without a result (its state is CANCELLED" in output
    (parent,) = parents(tmp_path)
    assert parent.info.status == "FAILED"
    assert parent.data.tags["hyperspec.failure.reason"] == "1 of 6 jobs failed"
    assert jobs(tmp_path, parent) == {
        **{name: ["FINISHED"] for name in NAMES},
        "20": ["FAILED"],
        "50": ["FAILED requeued", "FINISHED"],
    }
    process = start(tmp_path, slurm)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    *_, again = parents(tmp_path)
    assert again.info.status == "FINISHED"
    assert jobs(tmp_path, again) == {name: ["FINISHED"] for name in NAMES}


def test_jobs_that_cannot_be_submitted_from_here_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed (extra slurm)")
    monkeypatch.setenv("PATH", str(tmp_path))
    target = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
    config = {"hydra": {"launcher": {"_target_": target}}, "sweep": {"dry_run": False}}
    with pytest.raises(ConfigError, match=r"sbatch and srun and sacct .* login node"):
        check_launcher(OmegaConf.create(config))
    config["sweep"]["dry_run"] = True  # a dry run looks at the jobs, on any machine
    check_launcher(OmegaConf.create(config))
