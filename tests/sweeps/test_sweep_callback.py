from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.entities import Run
from omegaconf import OmegaConf

from hyperspec.sweeps.callback import SweepCallback, command_line
from hyperspec.tracking.client import open_client
from hyperspec.tracking.health import local_folder
from hyperspec.tracking.parent import find_parent
from hyperspec.utils.errors import TrackingError

APP = Path(__file__).with_name("sweep_app.py")


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, str(APP), *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def runs(folder: Path, experiment: str = "app") -> dict[str, Run]:
    client = open_client(f"sqlite:///{folder}/store/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    return {run.info.run_name: run for run in client.search_runs([found.experiment_id])}


def test_a_sweep_has_one_parent_its_jobs_under_it_and_a_report(folder: Path) -> None:
    process = start(folder, "-m", "n=10,50")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    note = find_parent(folder / "out")
    assert note is not None
    assert note.tracking_uri == f"sqlite:///{folder}/store/mlflow.db"
    assert (note.experiment, note.study) == ("app", "band_count")
    found = runs(folder)
    parent = found.pop(note.name)
    assert parent.info.run_id == note.parent_run_id
    assert re.fullmatch(r"band_count \d\d-\d\d \d\d:\d\d:\d\d", note.name)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["hyperspec.command"] == "hyperspec train -m n=10,50"
    assert parent.data.tags["hyperspec.study"] == "band_count"
    assert "| `n` | `10,50` |" in parent.data.tags["mlflow.note.content"]
    assert parent.data.params == {"space.n": "10,50"}
    assert {name: run.info.status for name, run in found.items()} == {
        "uniform n=10": "FINISHED",
        "uniform n=50": "FINISHED",
    }
    parents = {run.data.tags["mlflow.parentRunId"] for run in found.values()}
    assert parents == {parent.info.run_id}
    logged = local_folder(parent.info.artifact_uri) / "report"
    names = ["accuracy_against_bands.png", "report.html", "table.txt"]
    assert sorted(path.name for path in logged.iterdir()) == names
    assert sorted(path.name for path in (folder / "out" / "report").iterdir()) == names
    assert f"picture: {folder}/out/report/accuracy_against_bands.png" in output
    assert "0.980" in output
    assert f"hyperspec ui --uri {note.tracking_uri}" in output


@pytest.mark.parametrize("sweeper", ["basic", pytest.param("optuna", marks=pytest.mark.slow)])
def test_a_failed_job_fails_the_sweep_and_its_neighbours_run_on(folder: Path, sweeper: str) -> None:
    words = ["-m", "n=10,20,50", "behaviour=fail", f"hydra/sweeper={sweeper}"]
    if sweeper == "optuna":
        # The stock sweeper swallows failures at this rate; the sweep must fail all the same.
        words += ["hydra/sweeper/sampler=grid", "hydra.sweeper.max_failure_rate=1.0"]
    process = start(folder, *words)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1, output
    found = runs(folder)
    statuses = {name: run.info.status for name, run in found.items()}
    note = find_parent(folder / "out")
    assert note is not None
    assert statuses == {
        note.name: "FAILED",
        "uniform n=10": "FINISHED",
        "uniform n=20": "FAILED",
        "uniform n=50": "FINISHED",
    }
    assert found[note.name].data.tags["hyperspec.failure.reason"] == "1 of 3 jobs failed"
    assert "RuntimeError: planned failure" in output
    assert "Failed jobs" in output


@pytest.mark.parametrize("number", [signal.SIGINT])  # `make faults` sends SIGTERM too
def test_an_interrupted_sweep_is_killed_with_its_jobs(folder: Path, number: int) -> None:
    process = start(folder, "-m", "n=10,50", "behaviour=wait")
    assert process.stdout is not None
    for line in process.stdout:
        if line == "waiting\n":
            break
    process.send_signal(number)
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0, output
    statuses = {run.info.status for run in runs(folder).values()}
    assert statuses == {"KILLED"}
    assert len(runs(folder)) == 2


@pytest.mark.slow
def test_a_job_that_forgets_its_run_is_closed_with_the_sweep(folder: Path) -> None:
    process = start(folder, "-m", "n=10", "behaviour=orphan")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1, output
    job = runs(folder)["uniform n=10"]
    assert job.info.status == "FAILED"
    reason = job.data.tags["hyperspec.failure.reason"]
    assert reason == "the sweep ended before the job closed its run"


@pytest.mark.slow
def test_the_next_sweep_closes_what_a_killed_one_left(folder: Path) -> None:
    killed = start(folder, "-m", "n=10,50", "behaviour=kill")
    killed.communicate(timeout=600)
    assert killed.returncode == -9
    left = runs(folder)
    assert {run.info.status for run in left.values()} == {"RUNNING"}
    again = start(folder, "-m", "n=50", "hydra.sweep.dir=out2")
    output, _ = again.communicate(timeout=600)
    assert again.returncode == 0, output
    statuses = {name: run.info.status for name, run in runs(folder).items()}
    assert sorted(statuses.values()) == ["FAILED", "FINISHED", "FINISHED", "KILLED"]
    assert statuses["uniform n=10"] == "FAILED"


def test_a_store_that_cannot_be_used_stops_the_sweep_before_its_jobs(tmp_path: Path) -> None:
    process = start(tmp_path, "-m", "n=10,50", "tracking.uri=file:///tmp/x")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 2
    assert "error: tracking.uri=file:///tmp/x cannot hold runs" in output
    assert "Traceback" not in output
    assert not (tmp_path / "out" / "0").exists()


def test_a_folder_that_cannot_be_made_starts_no_job(folder: Path) -> None:
    (folder / "out").write_text("a file where the sweep's folder would be")
    process = start(folder, "-m", "n=10")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 2, output
    assert "out: File exists. If nothing can be written there" in output
    assert "hydra.sweep.dir=FOLDER" in output
    assert "Launching" not in output
    assert "Traceback" not in output


def test_an_unforeseen_error_at_the_start_starts_no_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Hydra only warns of a callback's error; the jobs would run without their parent."""

    def fail(self: SweepCallback, config: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(SweepCallback, "_begin", fail)
    with pytest.raises(SystemExit) as left:
        SweepCallback().on_multirun_start(OmegaConf.create())
    assert left.value.code == 1
    assert "the sweep was not started" in caplog.text
    assert "RuntimeError: unforeseen" in caplog.text


def test_the_command_is_written_so_that_a_shell_takes_it() -> None:
    overrides = {"task": ["bands.n=10,20", "data.root=my cubes"]}
    overrides["hydra"] = ["hydra.mode=MULTIRUN", "hydra/launcher=joblib"]
    config = OmegaConf.create({"hydra": {"overrides": overrides}})
    expected = "hyperspec train -m bands.n=10,20 'data.root=my cubes' hydra/launcher=joblib"
    assert command_line(config) == expected


def test_no_note_is_no_parent_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    assert find_parent(tmp_path) is None
    (tmp_path / "sweep.json").write_text(json.dumps({"parent_run_id": "x"}))
    with pytest.raises(TrackingError, match=r"sweep\.json does not name the sweep's run"):
        find_parent(tmp_path)


def test_the_callback_module_imports_without_mlflow_and_torch() -> None:
    program = (
        "import sys, hyperspec.sweeps.callback; "
        "print([m for m in ('mlflow', 'torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
