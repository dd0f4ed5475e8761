"""Jobs that share a device, through the real entrypoint."""

from __future__ import annotations

import pytest
from tracked import Runs
from train_fixtures import cache, runs, specimens, words

from hyperspec.cli.train import main

__all__ = ["cache", "runs", "specimens", "words"]  # fixtures


@pytest.mark.slow
def test_two_jobs_share_the_cpu_through_the_entrypoint(
    words: list[str], runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    shared = ["hardware=gpu_shared", "hardware.accelerator=cpu", "hardware.jobs_per_device=2"]
    two = ["-m", "hydra/launcher=joblib", "bands.n=4,6", "hardware.precision=32-true", "epochs=1"]
    assert main([*words, *shared, *two]) == 0
    jobs = [run for run in runs() if run.data.tags.get("hyperspec.kind") == "job"]
    assert [job.info.status for job in jobs] == ["FINISHED", "FINISHED"]
    printed = capfd.readouterr()
    assert "2 jobs, 2 at once (joblib)" in printed.out + printed.err


@pytest.mark.slow
def test_jobs_that_share_but_run_one_by_one_are_refused(
    words: list[str], runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = ["hardware.jobs_per_device=2", "-m", "bands.n=4,6"]
    assert main([*words, *shared]) == 2
    assert "Add hydra/launcher=joblib" in capsys.readouterr().err
    assert runs() == []
