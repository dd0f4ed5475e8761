"""Before the first job devices, specimens, splits and objectives are looked at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from confounded import write_confounded
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.config import config_dir, groups
from hyperspec.config.hardware import Hardware
from hyperspec.config.schema import Train
from hyperspec.runs.planning.preflight import check_data, check_devices
from hyperspec.utils.errors import ConfigError, SplitError


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Train]:
    folder = write_confounded(tmp_path / "specimens")

    def made(*words: str) -> Train:
        groups.register()
        GlobalHydra.instance().clear()
        data = [f"data.root={folder}", f"data.cache_dir={tmp_path / 'cache'}", "data.size=6"]
        with initialize_config_dir(str(config_dir())):
            return groups.to_train(
                compose("train", ["model=tiny", "data.mask=none", *data, *words])
            )

    return made


def test_confounding_is_said_once_for_all_splits(
    job: Callable[..., Train], caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [job(f"data.split.seed={seed}", f"seed={seed}") for seed in range(3)]
    check_data(jobs)
    assert caplog.text.count("confounds label and session") == 1
    assert "data.split.group=session" in caplog.text
    caplog.clear()
    check_data([job("data.split.group=session")])
    assert "confounds" not in caplog.text


def test_an_objective_or_split_that_the_specimens_do_not_allow_is_refused(
    job: Callable[..., Train],
) -> None:
    with pytest.raises(ConfigError, match=r"needs labels .* Take for example val/rankme"):
        check_data([job(), job("data/labels=none", "objective=[bands.n,val/linear_top1]")])
    with pytest.raises(ConfigError, match="needs two named views of a specimen"):
        check_data([job("data/labels=none", "objective=val/view_retrieval_top1")])
    with pytest.raises(ConfigError, match=r"objective is auto, but evaluation.evaluators \(knn\)"):
        check_data([job("data/labels=none", "evaluation.evaluators=[knn]")])
    with pytest.raises(SplitError):
        check_data([job(), job("data.split.rotate=99", "data.split.rotation=0")])


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERSPEC_DEVICE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_devices([Hardware(), Hardware(accelerator="cpu", devices=2), Hardware(devices=2)])
    with pytest.raises(ConfigError, match="torch sees no CUDA device"):
        check_devices([Hardware(), Hardware(accelerator="gpu")])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"hardware.devices is 4, but torch sees 1 GPU\(s\)"):
        check_devices([Hardware(accelerator="gpu"), Hardware(devices=4)])


@pytest.mark.parametrize(
    "words", [["bands.n=5"], ["-m", "bands.n=4,5"], ["-m", "bands.n=5", "hardware=cpu,gpu"]]
)
def test_a_missing_gpu_is_told_before_the_first_job(
    study: Study,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    given = words if "hardware=cpu,gpu" in words else [*words, "hardware=gpu"]
    assert main([*study.words, *given]) == 2
    assert "hardware.accelerator is gpu, but torch sees no CUDA" in capsys.readouterr().err
    assert study.runs() == []


@pytest.mark.parametrize(
    "words", [[], ["-m", "bands.n=4,5"], ["-m", "search=random", "lr=1e-4,1e-3"]]
)
@pytest.mark.parametrize("objective", ["val/knn_top11", "train/loss"])
def test_an_objective_that_no_job_measures_is_told_before_the_first_job(
    study: Study, words: list[str], objective: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*study.words, f"objective={objective}", *words]) == 2
    assert f"objective is '{objective}'" in capsys.readouterr().err
    assert study.runs() == []
