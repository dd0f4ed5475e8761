"""Sweeps in several processes: lost workers, lost controllers, and the cores shared out."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from listening import is_loopback, listening
from mlflow.entities import Run
from omegaconf import OmegaConf
from sweep_study import Study

from hyperspec.config import config_dir
from hyperspec.sweeps.launchers import launcher as launchers
from hyperspec.sweeps.launchers.launcher import HyperspecLauncher
from hyperspec.sweeps.launchers.pools import Slots, make_pool
from hyperspec.tracking.client import open_client
from hyperspec.utils.errors import ConfigError

APP = Path(__file__).with_name("launcher_app.py")
# Seconds after which a worker counts as left behind, on a machine that other work stalls too;
# `make faults` measures how long it takes.
LIMIT = 120.0


def needs(module: str, name: str) -> object:
    missing = importlib.util.find_spec(module) is None
    return pytest.param(
        name, marks=pytest.mark.skipif(missing, reason=f"{module} is not installed (an extra)")
    )


# Each takes about a minute, so that every mechanism has one here: workers that are lost and workers
# that are left behind, in pools of joblib, submitit and Ray. `make faults` has more.
SUBMITIT, RAY = needs("submitit", "submitit_local"), needs("ray", "ray")


def start(folder: Path, launcher: str, *words: str) -> subprocess.Popen[str]:
    options = [f"hydra/launcher={launcher}", f"hydra.searchpath=[file://{config_dir()}]"]
    options += ["hydra.launcher.n_jobs=2", "-m", "n=10,20,50"]
    return subprocess.Popen(
        [sys.executable, str(APP), *options, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def runs(folder: Path) -> list[Run]:
    client = open_client(f"sqlite:///{folder}/store/mlflow.db")
    found = client.get_experiment_by_name("app")
    order = ["attributes.start_time ASC"]
    return [] if found is None else list(client.search_runs([found.experiment_id], order_by=order))


def jobs(folder: Path) -> list[Run]:
    return [run for run in runs(folder) if run.data.tags["hyperspec.kind"] == "job"]


def lives(process: psutil.Process) -> bool:
    """Say whether a process runs; an orphan that is over may wait for its entry to be removed."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", RAY])
def test_a_killed_worker_costs_its_job_one_start(folder: Path, launcher: str) -> None:
    process = start(folder, launcher, "behaviour=die_once")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    parent, *children = runs(folder)
    assert parent.info.status == "FINISHED"
    lost = [run for run in children if "hyperspec.requeued" in run.data.tags]
    assert [run.info.status for run in lost] == ["FAILED"]
    assert "ended without closing its run" in lost[0].data.tags["hyperspec.failure.reason"]
    kept = [run for run in children if run not in lost]
    ended = sorted((int(run.data.params["bands.n"]), run.info.status) for run in kept)
    assert ended == [(10, "FINISHED"), (20, "FINISHED"), (50, "FINISHED")]
    processes = {run.data.tags["hyperspec.process"] for run in children}
    assert parent.data.tags["hyperspec.process"] not in processes
    assert "lost its process" in output
    assert "(start 2)" in output
    assert "Exception ignored" not in output  # of pools that the interpreter's end finds open


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", SUBMITIT])
def test_a_job_that_is_killed_again_and_again_fails_alone(folder: Path, launcher: str) -> None:
    process = start(folder, launcher, "behaviour=die", "hydra.launcher.retries=1")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1, output
    parent, *children = runs(folder)
    ended = sorted((int(run.data.params["bands.n"]), run.info.status) for run in children)
    assert ended == [(10, "FINISHED"), (20, "FAILED"), (20, "FAILED"), (50, "FINISHED")]
    assert parent.info.status == "FAILED"
    assert "was killed 2 times" in output


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", SUBMITIT, RAY])
def test_workers_leave_with_their_controller(folder: Path, launcher: str) -> None:
    process, workers = start_waiting(folder, launcher)
    controller = psutil.Process(process.pid)
    below = controller.children(recursive=True)
    assert set(workers) <= {child.pid for child in below}
    assert all(is_loopback(address) for address, _ in listening([controller, *below]))
    if launcher == "ray":  # its own agents notice a minute later; they hold no job
        below = [child for child in below if child.pid in workers]
    process.kill()
    assert seconds_until_gone(below) < LIMIT
    process.communicate(timeout=600)


@pytest.mark.slow
def test_workers_whose_jobs_have_ended_are_not_waited_for(folder: Path) -> None:
    """What a job raises on SIGINT reaches the controller; it would be pickled without end."""
    process, workers = start_waiting(folder, "joblib", f"leave={5 * LIMIT}")
    process.terminate()
    assert seconds_until_gone([psutil.Process(pid) for pid in workers]) < LIMIT
    process.communicate(timeout=600)


def start_waiting(
    folder: Path, launcher: str, *words: str
) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a sweep whose jobs wait; return it and the processes of its first two jobs."""
    process = start(folder, launcher, "behaviour=wait", *words)
    deadline = time.monotonic() + 600
    while len(pids := list(folder.glob("*.pid"))) < 2 or not all(p.read_text() for p in pids):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process, [int(path.read_text()) for path in pids]


def seconds_until_gone(processes: list[psutil.Process]) -> float:
    since = time.monotonic()
    while any(lives(process) for process in processes) and time.monotonic() - since < LIMIT:
        time.sleep(0.05)
    return time.monotonic() - since


_UNBROKEN: dict[str, float] = {}


def unbroken_table(study: Study, words: list[str]) -> dict[str, float]:
    """What the same sweep reaches in one piece, on the same specimens; run once for all."""
    if not _UNBROKEN:
        process = study.start(*words, "sweep.resume=false")
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
        for run in study.jobs()[-3:]:
            _UNBROKEN[run.data.params["bands.n"]] = run.data.metrics["test/linear_top1"]
    return _UNBROKEN


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", SUBMITIT, RAY])
def test_a_killed_sweep_ends_with_the_table_of_an_unbroken_one(study: Study, launcher: str) -> None:
    words = ["-m", "bands.n=5,6,7", "epochs=4", "sweep.checkpoint_seconds=0"]
    words += [f"hydra/launcher={launcher}", "hydra.launcher.n_jobs=2"]
    process = study.start(*words)
    deadline = time.monotonic() + 600
    while not any(run.info.status == "FINISHED" for run in study.jobs()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.communicate(timeout=600)
    again = study.start(*words)
    output, _ = again.communicate(timeout=600)
    assert again.returncode == 0, output
    told = re.findall(r"^sweep (\d)/3  bands\.n=(\d)  .*objective \d\.\d{3}", output, re.MULTILINE)
    assert [place for place, _ in told] == ["1", "2", "3"]  # the view, a line per job
    assert {count for _, count in told} == {"5", "6", "7"}
    first, last = study.jobs(), study.runs()[-1].data.tags["mlflow.parentRunId"]
    table = {
        run.data.params["bands.n"]: run.data.metrics["test/linear_top1"]
        for run in study.jobs()
        if run.data.tags["mlflow.parentRunId"] == last
    }
    assert table == unbroken_table(study, words[:4])
    assert "RUNNING" not in {run.info.status for run in study.runs()}
    trained = [run for run in first if "hyperspec.resumed_from" not in run.data.tags]
    finished = [run for run in trained if run.info.status == "FINISHED"]
    assert sorted(run.data.params["bands.n"] for run in finished) == ["5", "6", "7"]


def documented(launcher: str) -> list[str]:
    """Return the words of the command with a launcher that the docs give."""
    text = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text().replace("\\\n", " ")
    start = f"hyperspec train -m hydra/launcher={launcher} "
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line.split()[2:]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [needs("submitit", "submitit_slurm"), "ray"])
def test_the_commands_for_clusters_compose(study: Study, launcher: str) -> None:
    words = documented(launcher)
    assert {"-m", "bands.n=10,20,50,100", "tracking.uri=http://HOST:5000"} <= set(words)
    own = {word.partition("=")[0]: word for word in study.words}
    words = [own.pop(word.partition("=")[0], word) for word in words]
    words = ["bands.n=5,6" if word.startswith("bands.n=") else word for word in words]
    process = study.start(*own.values(), *words, "sweep.dry_run=true")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "sweep: 2 jobs" in output
    assert study.runs() == []
    misspelt = [word.replace("hydra.launcher.", "hydra.launcher.x_") for word in words]
    process = study.start(*own.values(), *misspelt, "sweep.dry_run=true")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 2, output
    assert "hydra.launcher.x_" in output


def test_who_joins_begins_elsewhere() -> None:
    launcher = HyperspecLauncher("joblib", n_jobs=1)
    jobs = list(range(50))
    for word, same in (("wait", True), ("join", False)):
        launcher._config = OmegaConf.create({"sweep": {"when_busy": word}})
        orders = [launcher._order(jobs) for _ in range(3)]
        assert all(sorted(order) == jobs for order in orders)
        assert (orders[0] == orders[1] == orders[2] == jobs) is same


def test_slots_share_threads_and_gpus() -> None:
    slots = Slots(3, threads=2, gpus=2)
    taken = [slots.take() for _ in range(3)]
    assert taken == [0, 1, 2]
    assert [slots.settings(slot)["CUDA_VISIBLE_DEVICES"] for slot in taken] == ["0", "1", "0"]
    slots.give(1)
    assert slots.take() == 1
    assert Slots(1, 4, None).settings(0) == {"OMP_NUM_THREADS": "4"}


def test_slots_keep_to_the_gpus_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    slots = Slots(4, threads=1, gpus=2)
    assert [slots.settings(i)["CUDA_VISIBLE_DEVICES"] for i in range(4)] == ["2", "5", "2", "5"]


@pytest.mark.parametrize(
    ("hardware", "gpus", "at_once", "shared_out"),
    [
        ({"jobs_per_device": 3, "accelerator": "gpu"}, 2, 6, 2),
        ({"jobs_per_device": 3, "accelerator": "auto"}, 0, 3, None),
        ({"jobs_per_device": 3, "accelerator": "cpu"}, 2, 3, None),
        ({"jobs_per_device": 1, "accelerator": "gpu"}, 2, 8, None),
    ],
)
def test_jobs_that_share_devices_are_spread_over_all_of_them(
    hardware: dict[str, object],
    gpus: int,
    at_once: int,
    shared_out: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launchers, "_count_gpus", lambda: gpus)
    monkeypatch.setattr(launchers, "usable_cores", lambda: 8)
    launcher = HyperspecLauncher("joblib")
    launcher._config = OmegaConf.create({"hardware": hardware})
    assert (launcher._at_once(), launcher._gpus()) == (at_once, shared_out)
    assert launcher._threads() == 8 // at_once


def test_sharing_a_device_needs_jobs_side_by_side() -> None:
    target = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
    config = {"hardware": {"jobs_per_device": 4}, "hydra": {"launcher": {"_target_": target}}}
    text = r"jobs_per_device is 4, .*BasicLauncher.*launcher=joblib"
    with pytest.raises(ConfigError, match=text):
        launchers.check_launcher(OmegaConf.create(config))
    config["hydra"]["launcher"]["_target_"] = (
        "hyperspec.sweeps.launchers.launcher.HyperspecLauncher"
    )
    launchers.check_launcher(OmegaConf.create(config))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n_jobs": 0}, "hydra.launcher.n_jobs is 0; give at least 1, or null."),
        ({"gpus": 0}, "hydra.launcher.gpus is 0; give at least 1, or null."),
        ({"retries": -1}, "hydra.launcher.retries is -1; give 0 or more."),
    ],
)
def test_options_are_checked(options: dict[str, int], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        HyperspecLauncher("joblib", **options)


def test_pools_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.pool is threads; choose joblib,"):
        make_pool("threads", 1, 1, None, tmp_path, {})
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.options does not fit joblib: .*speed"):
        make_pool("joblib", 1, 1, None, tmp_path, {"speed": 2})


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install 'hyperspec-sweeps\[slurm\]'"):
        make_pool("submitit_local", 1, 1, None, tmp_path, {})
