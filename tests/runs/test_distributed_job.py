"""One job on two processes through the real entrypoint: the numbers and traces of a single one."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist
from listening import is_loopback, listening
from mlflow.entities import Run
from sweep_study import Study
from tracked import Runs, artifact, runs_of
from train_fixtures import cache, runs, specimens, words

from hyperspec.cli.commands.plan import composed
from hyperspec.cli.train import main
from hyperspec.config.hardware import Hardware
from hyperspec.runs.distributed import processes as module
from hyperspec.runs.planning.step_memory import settings_of
from hyperspec.training.devices import count_devices
from hyperspec.utils.errors import ConfigError

__all__ = ["cache", "runs", "specimens", "words"]  # fixtures
PAIR = ["hardware.accelerator=cpu", "hardware.devices=2", "hardware.strategy=ddp"]


def weights(run: Run) -> dict[str, Any]:
    checkpoint = torch.load(artifact(run, "checkpoints/last.ckpt"), weights_only=True)
    found: dict[str, Any] = checkpoint["state_dict"]
    return found


@pytest.fixture
def assert_alone() -> Callable[[], None]:
    """No process is left but those that earlier tests left (pools that wait for work)."""
    before = psutil.Process().children(recursive=True)

    def check() -> None:
        assert [p for p in psutil.Process().children(recursive=True) if p not in before] == []
        assert not dist.is_initialized()

    return check


@pytest.mark.slow
def test_two_processes_train_as_one(
    words: list[str], runs: Runs, tmp_path: Path, assert_alone: Callable[[], None]
) -> None:
    """Twice in a sweep: each job has processes of its own."""
    shared = [*words, "bands.n=7", "model.norm=group", "batch_size=16", "log_every_n_steps=1"]
    shared += ["evaluation.every_n_epochs=1", "sweep.live=off"]
    assert main([*shared, "seed=1", "hardware.micro_batch=8"]) == 0
    (single,) = runs()
    assert main([*shared, *PAIR, "-m", "seed=0,1"]) == 0
    assert_alone()
    jobs = [run for run in runs() if "mlflow.parentRunId" in run.data.tags]
    assert [run.info.status for run in jobs] == ["FINISHED"] * 2
    assert len(runs()) == 1 + 1 + 2  # the single one, the sweep, its jobs
    (double,) = [run for run in jobs if run.data.params["seed"] == "1"]
    for name, value in single.data.metrics.items():
        if name.startswith(("train/", "grad_norm/", "val/", "test/", "control/", "best/")):
            assert double.data.metrics[name] == pytest.approx(value, rel=1e-4), name
    assert double.data.metrics["objective"] == single.data.metrics["objective"]
    one, two = weights(single), weights(double)
    assert one.keys() == two.keys()
    moved = 0.0
    for name, value in one.items():
        # float32: where a gradient is nothing but rounding, a step of Adam (at most the rate) makes
        # as much of it as of any other; such weights are few.
        apart = (two[name].double() - value.double()).abs()
        assert int((apart > 1e-5 + 1e-4 * value.double().abs()).sum()) <= 1e-4 * apart.numel(), name
        assert not apart.numel() or float(apart.max()) < 1e-3, name
        other = weights(next(run for run in jobs if run is not double))[name]
        if value.numel():  # the loss has no queue
            moved = max(moved, float((other.double() - value.double()).abs().max()))
    assert moved > 0.01, "weights of another seed differ, so that equal ones mean something"
    assert len(list((tmp_path / "multirun").rglob("last.ckpt"))) == 2


@pytest.mark.slow
def test_all_that_a_process_shares(
    words: list[str], runs: Runs, assert_alone: Callable[[], None]
) -> None:
    """Synchronised BatchNorm, stages, cells, and the file that one writes and both read."""
    stages = "schedule=[{until_epoch: 1, bands: 4}, {until_epoch: 2, bands: 7}]"
    demo = [w for w in words if w != "experiment=demo"]
    assert (
        main(
            [
                *("data=synthetic", "model=tiny", *demo, "loss=combined", "bands.n=7", stages),
                *(*PAIR, "model.norm=batch", "model.stem=projection", "batch_size=16"),
            ]
        )
        == 0
    )
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["train/loss_local"] > 0
    state = weights(run)
    tracked = [value for name, value in state.items() if "num_batches_tracked" in name]
    assert all(int(value) >= 2 for value in tracked)
    assert_alone()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["error", "killed"])
def test_the_failure_of_one_ends_all(
    words: list[str],
    runs: Runs,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    assert_alone: Callable[[], None],
) -> None:
    act = {
        "error": "raise ModelError('the second device is on fire')",
        "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    }[how]
    original = module.subprocess.Popen

    def broken(command: list[str], **rest: Any) -> Any:
        code = (
            "import os, runpy, signal, sys\n"
            "from hyperspec.utils.errors import ModelError\n"
            "from hyperspec.training.simclr import SimCLR\n"
            "def broken(self, batch, batch_idx):\n"
            f"    {act}\n"
            "SimCLR.training_step = broken\n"
            f"sys.argv = {['follower', *command[-2:]]!r}\n"
            "runpy.run_module('hyperspec.runs.distributed.worker', run_name='__main__')\n"
        )
        return original([command[0], "-W", "ignore", "-c", code], **rest)

    monkeypatch.setattr(module.subprocess, "Popen", broken)
    assert main([*words, *PAIR, "bands.n=7", "batch_size=16"]) == 2
    shown = capsys.readouterr().err
    (run,) = runs()
    assert run.info.status == "FAILED"
    if how == "error":
        assert "Process 1 of the job failed: the second device is on fire" in shown
    else:
        assert f"Process 1 of the job was ended by signal {int(signal.SIGKILL)}" in shown
    assert_alone()


@pytest.mark.slow
def test_a_pruned_trial_ends_in_both_processes(
    study: Study,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    assert_alone: Callable[[], None],
) -> None:
    """Successive halving that starts up with one trial stops the first at its first score."""
    # Of a process that trains on alone the other would wait for a day.
    monkeypatch.setattr(module, "PATIENCE", timedelta(seconds=300))
    words = ["search=tpe", "lr=interval(0.001,0.01)", "hydra.sweeper.n_trials=1", "epochs=4"]
    words += ["hydra/sweeper/pruner=successive_halving", "hydra.sweeper.pruner.min_resource=1"]
    words += ["hydra.sweeper.pruner.bootstrap_count=1", "evaluation.every_n_epochs=1"]
    words += ["hydra.sweeper.storage=sqlite:///optuna.db", "hydra.sweeper.study_name=s"]
    with caplog.at_level(logging.WARNING, logger="hyperspec.runs.distributed"):
        assert main([*study.words, *PAIR, "-m", *words, "bands.n=7", "batch_size=16"]) == 0
    # A process that trained on would be waited for, and told of.
    assert [r for r in caplog.records if r.name.startswith("hyperspec.runs.distributed")] == []
    assert_alone()
    (job,) = study.jobs()
    assert (job.info.status, job.data.tags["hyperspec.pruned"]) == ("KILLED", "1")
    assert job.data.metrics["epoch"] == 0
    import optuna

    storage = f"sqlite:///{study.folder}/optuna.db"
    (trial,) = optuna.load_study(study_name="s", storage=storage).trials
    assert trial.state.name == "PRUNED"


@pytest.mark.slow
def test_a_killed_job_of_two_processes_goes_on(
    study: Study, packed: Path, assert_alone: Callable[[], None]
) -> None:
    words = [*PAIR, "-m", "bands.n=7", "batch_size=16", "epochs=16", "sweep.checkpoint_seconds=0"]
    assert main([*study.words, *words]) == 0
    (unbroken,) = study.jobs()
    # Another experiment, so that the finished run is not found there.
    words.append(f"tracking.experiment={study.folder.name}-killed")
    process = study.start(*words)
    deadline = time.monotonic() + 600
    while not list(packed.glob("interrupted/*/?.ckpt")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=600)
    psutil.wait_procs(family, timeout=120)  # the other process follows
    assert not any(child.is_running() for child in family)
    assert main([*study.words, *words]) == 0
    assert_alone()
    found = runs_of(study.uri, f"{study.folder.name}-killed")
    killed, resumed = [run for run in found if run.data.tags["hyperspec.kind"] == "job"]
    assert (killed.info.status, resumed.info.status) == ("FAILED", "FINISHED")
    assert resumed.data.tags["hyperspec.continued_from"] == killed.info.run_id
    for name, value in weights(unbroken).items():
        assert torch.equal(weights(resumed)[name], value), name


@pytest.mark.parametrize("slurm", [{}, {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}])
def test_slurm_says_nothing_of_the_processes_of_a_job(
    words: list[str], tmp_path: Path, slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a login node Lightning warns of srun; in a job of two tasks it refused to train."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}{os.pathsep}{os.environ['PATH']}")
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    warnings.filterwarnings("error", "The `srun` command")  # before what tests ignore
    assert main([*words, "bands.n=7", "epochs=1"]) == 0


def test_no_other_machine_reaches_a_group() -> None:
    process = psutil.Process()
    before = listening([process])
    store = module.serve(1)
    module._join(store, 0, 1, torch.device("cpu"))
    try:
        opened = listening([process]) - before
        assert len(opened) >= 2  # where it is met, and where its processes exchange gradients
        assert all(is_loopback(address) for address, _ in opened)
    finally:
        dist.destroy_process_group()


def test_batches_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_size is 65, .* hardware\.devices=2 .*=64"):
        composed(["batch_size=65", *PAIR])
    made = composed(["batch_size=64", *PAIR])
    assert count_devices(made.hardware) == 2
    assert settings_of(made, 0).batch == 32


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hardware.devices=0"], r"hardware\.devices is 0; give .* at least 1, or all"),
        (["hardware.devices=some"], r"hardware\.devices is some; give"),
        (["hardware.devices=all", "hardware.accelerator=cpu"], r"devices is all, but .* is cpu"),
        (["hardware.strategy=fsdp"], r"hardware\.strategy is 'fsdp'; choose ddp or auto"),
    ],
)
def test_wrong_devices_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        composed(words)


def test_multi_gpu_takes_all() -> None:
    hardware = composed(["hardware=multi_gpu"]).hardware
    assert (hardware.devices, hardware.strategy, hardware.accelerator) == (-1, "ddp", "gpu")
    assert Hardware(devices="all").devices == -1


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert count_devices(Hardware(accelerator="gpu", devices="all")) == 3
    with pytest.raises(ConfigError, match=r"hardware\.devices is 4, but torch sees 3 GPU"):
        count_devices(Hardware(accelerator="gpu", devices=4))


def test_what_another_process_said_is_told(tmp_path: Path) -> None:
    class Ended:
        returncode = 1

        def poll(self) -> int:
            return self.returncode

    others: Any = [Ended(), Ended()]
    gone = RuntimeError("[gloo] Connection closed by peer")
    module.note_failure(tmp_path, 1, gone, "", memory=False)  # only what followed
    assert "ended with status 1" in str(module._reason(others, tmp_path, gone))
    module.note_failure(tmp_path, 2, torch.OutOfMemoryError("no room"), "", memory=True)
    found = module._reason(others, tmp_path, gone)
    assert isinstance(found, torch.OutOfMemoryError)
    assert "Process 2 of the job failed: OutOfMemoryError: no room" in str(found)
    assert module._reason(others, tmp_path, ValueError("my own")) is None
    told = json.loads((tmp_path / "failure_1.json").read_text())
    assert told["of_the_group"]


@pytest.mark.parametrize(
    ("well", "backend", "expected"),
    [
        (True, "nccl", ["destroyed"]),
        (False, "nccl", ["aborted"]),  # of the whole group: nothing is left to destroy
        (False, "gloo", ["destroyed"]),
    ],
)
def test_a_group_is_left_without_a_wait_for_what_nobody_joins(
    well: bool, backend: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(module.dist, "is_initialized", lambda: not order)
    monkeypatch.setattr(module.dist, "get_backend", lambda: backend)
    monkeypatch.setattr(
        module.dist.distributed_c10d, "_abort_process_group", lambda: order.append("aborted")
    )
    monkeypatch.setattr(module.dist, "destroy_process_group", lambda: order.append("destroyed"))
    module._end([], well)
    assert order == expected


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_train_as_one(
    words: list[str], runs: Runs, assert_alone: Callable[[], None]
) -> None:
    shared = [*words, "bands.n=7", "model.norm=group", "batch_size=16"]
    on_gpu = ["hardware.accelerator=gpu", "hardware.precision=32-true"]
    assert main([*shared, *on_gpu, "hardware.micro_batch=8"]) == 0
    assert main([*shared, *on_gpu, "hardware.devices=2", "hardware.strategy=ddp"]) == 0
    assert_alone()
    one, two = (weights(run) for run in runs())
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert os.environ.get("LOCAL_RANK") is None
