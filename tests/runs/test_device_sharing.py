from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hyperspec.cli.commands.plan import composed
from hyperspec.runs.planning import device_sharing
from hyperspec.runs.planning import memory as forecasts
from hyperspec.runs.planning.device_sharing import check_sharing
from hyperspec.utils.errors import ConfigError

REAL = forecasts.forecast


def jobs(sharing: int, tmp_path: Path) -> list[object]:
    words = [f"data.root={tmp_path}", "data/labels=none", f"hardware.jobs_per_device={sharing}"]
    job = composed([*words, "model=tiny", "data.size=16"])
    return [job, replace(job, seed=1), replace(job, batch_size=32)]


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stand for a GPU of 10 GB on which a specimen of the batch takes 20 MB."""
    asked: list[int] = []

    def forecast(job: object, free: int | None = None) -> SimpleNamespace:
        asked.append(job.batch_size)  # type: ignore[attr-defined]
        total = 20e6 * job.batch_size  # type: ignore[attr-defined]
        return SimpleNamespace(total=total, device="cuda", free=10e9)

    monkeypatch.setattr(forecasts, "forecast", forecast)
    return asked


def test_jobs_that_fit_together_may_start(predicted: list[int], tmp_path: Path) -> None:
    check_sharing(jobs(4, tmp_path))  # type: ignore[arg-type]
    assert predicted == [64, 32]  # one of each shape: the seed decides no memory


def test_jobs_that_do_not_fit_together_are_refused(predicted: list[int], tmp_path: Path) -> None:
    # Each 1280 MB and 600 MB of its process: four fit in nine tenths of 10 GB.
    with pytest.raises(ConfigError) as caught:
        check_sharing(jobs(5, tmp_path))  # type: ignore[arg-type]
    assert "hardware.jobs_per_device is 5, but 5 of the largest jobs need 9400 MB" in str(
        caught.value
    )
    assert "Set hardware.jobs_per_device=4." in str(caught.value)


def test_the_controller_has_no_context_on_the_device(
    predicted: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=0, stdout="9000000000\n", stderr="")

    def never(*_: object) -> tuple[int, int]:
        raise AssertionError("this makes a context, which stays")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", never)
    monkeypatch.setattr(torch.cuda, "current_device", never)
    monkeypatch.setattr(device_sharing.subprocess, "run", run)
    on_gpu = [
        replace(job, hardware=replace(job.hardware, accelerator="gpu"))  # type: ignore[type-var,attr-defined]
        for job in jobs(2, tmp_path)
    ]
    monkeypatch.setattr(forecasts, "forecast", REAL)
    check_sharing(on_gpu)  # type: ignore[arg-type]
    assert [command[0] for command in asked] == [sys.executable]


def test_a_device_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if torch.cuda.device_count():
        pytest.skip("this one answers")
    with pytest.raises(ConfigError, match=r"the GPU does not say what is free: \w+"):
        device_sharing.free_on_cards()


def test_jobs_with_a_device_of_their_own_are_not_predicted(
    predicted: list[int], tmp_path: Path
) -> None:
    check_sharing(jobs(1, tmp_path))  # type: ignore[arg-type]
    assert predicted == []


def test_the_number_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hardware\.jobs_per_device is 0"):
        jobs(0, tmp_path)
