"""Jobs that fail, run out of memory or are claimed twice, through the real entrypoint."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from mlflow.entities import Run
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.runs.out_of_memory import is_out_of_memory
from hyperspec.tracking.client import open_client
from hyperspec.tracking.health import local_folder
from hyperspec.training.simclr import SimCLR


def artifact(run: Run, name: str) -> Path:
    return local_folder(run.info.artifact_uri) / name


@dataclass
class Memory:
    """Room for so many specimens at once, and what was asked of it."""

    limit: int = 16
    asked: list[int] = field(default_factory=list)


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """A device with little memory."""
    memory = Memory()
    embed = SimCLR.embed_views

    def limited(self: SimCLR, batch: object, chosen: torch.Tensor) -> tuple[torch.Tensor, ...]:
        memory.asked.append(len(chosen))
        if len(chosen) > memory.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return embed(self, batch, chosen)  # type: ignore[arg-type]

    monkeypatch.setattr(SimCLR, "embed_views", limited)
    return memory


def test_out_of_memory_is_tried_again_with_half_the_micro_batch(
    study: Study, small_memory: Memory
) -> None:
    words = ["bands.n=5", "model.norm=group", "batch_size=32", "warmup_steps=0"]
    assert main([*study.words, "-m", *words]) == 0
    (run,) = study.jobs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["hyperspec.oom.micro_batch"] == "16"
    assert small_memory.asked[0] == 32
    assert set(small_memory.asked[1:]) == {16}
    assert run.data.params["hardware.micro_batch"] == "null"
    # Its identity is that of the job as it was asked for: it is not run again.
    asked = len(small_memory.asked)
    assert main([*study.words, "-m", *words]) == 0
    assert len(small_memory.asked) == asked


def test_a_memory_that_is_still_too_small_fails_that_job_alone(
    study: Study, small_memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bands.n=5", "warmup_steps=0", "batch_size=64,16"]
    assert main([*study.words, "-m", *words]) == 1
    large, small = study.jobs()
    assert (large.info.status, small.info.status) == ("FAILED", "FINISHED")
    reason = large.data.tags["hyperspec.failure.reason"]
    assert "ran out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.)" in reason
    assert "hardware.micro_batch=16 did not help" in reason
    assert "BatchNorm2d in training mode" in reason
    assert "Set model.norm=group" in capsys.readouterr().err


def test_the_second_try_can_be_too_large_too(study: Study, small_memory: Memory) -> None:
    small_memory.limit = 8
    words = ["bands.n=5", "model.norm=group", "warmup_steps=0"]
    assert main([*study.words, "-m", *words]) == 1
    (run,) = study.jobs()
    assert small_memory.asked == [32, 16]
    assert run.info.status == "FAILED"
    reason = run.data.tags["hyperspec.failure.reason"]
    assert "hardware.micro_batch=16 did not help. Give a smaller" in reason


def test_memory_errors_are_told_from_others() -> None:
    assert is_out_of_memory(MemoryError())
    cpu = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")
    assert is_out_of_memory(cpu)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_hopeless_sweep_is_given_up(study: Study) -> None:
    words = ["-m", "bands.n=41,42,43,5,6", "sweep.max_failures=2"]
    assert main([*study.words, *words]) == 1
    assert [run.info.status for run in study.jobs()] == ["FAILED", "FAILED"]
    parent = study.runs()[0]
    assert parent.info.status == "FAILED"
    assert parent.data.tags["hyperspec.failure.reason"] == "2 of 2 jobs failed"


@pytest.mark.slow
def test_two_sweeps_at_the_same_time_run_no_job_twice(study: Study) -> None:
    assert main([*study.words, "bands.n=4"]) == 0  # the store and the packed specimens are there
    words = ["-m", "bands.n=5,6,7", "epochs=30"]
    joins = ["sweep.when_busy=join", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]
    both = [
        study.start(*words, f"hydra.sweep.dir=sweep{i}", *more)
        for i, more in enumerate([[], joins])
    ]
    outputs = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    jobs = study.jobs()[1:]
    assert {run.info.status for run in jobs} == {"FINISHED"}
    trained = [run for run in jobs if "hyperspec.resumed_from" not in run.data.tags]
    assert sorted(run.data.params["bands.n"] for run in trained) == ["5", "6", "7"]
    per_parent = Counter(run.data.tags["mlflow.parentRunId"] for run in jobs)
    assert sorted(per_parent.values()) == [3, 3]


@pytest.mark.slow
def test_a_search_stops_hopeless_trials_early(study: Study) -> None:
    words = ["experiment=[demo,temperature_lr]", "search=tpe_pruned", "hydra.sweeper.n_trials=8"]
    words += ["hydra.sweeper.storage=sqlite:///optuna.db", "evaluation.every_n_epochs=1"]
    words += ["hydra.sweeper.pruner.n_startup_trials=2", "hydra.sweeper.pruner.n_warmup_steps=0"]
    words += ["bands.n=20", "epochs=12", "warmup_steps=0"]
    process = study.start(*words)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    import optuna

    storage = f"sqlite:///{study.folder}/optuna.db"
    trials = optuna.load_study(study_name=None, storage=storage).trials
    # Draws that only repeat another are closed, and do not count.
    told = [t.state.name for t in trials if "hyperspec:duplicate" not in t.user_attrs]
    assert len(told) == 8
    jobs = study.jobs()
    pruned = [run for run in jobs if "hyperspec.pruned" in run.data.tags]
    assert pruned
    assert told.count("PRUNED") == len(pruned)
    assert told.count("COMPLETE") == 8 - len(pruned)
    for run in pruned:
        assert run.info.status == "KILLED"
        assert "stopped early by the search" in run.data.tags["hyperspec.failure.reason"]
        assert run.data.metrics["epoch"] < 11
        assert "objective" not in run.data.metrics
    whole = next(run for run in jobs if "objective" in run.data.metrics)
    history = open_client(study.uri).get_metric_history(whole.info.run_id, "val/knn_top1")
    assert whole.data.metrics["best/val_knn_top1"] == max(point.value for point in history)
    assert study.runs()[0].info.status == "FINISHED"
    assert "stopped early" in output
