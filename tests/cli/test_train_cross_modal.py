"""Training on windows of wavelengths through the entrypoint, and what its checkpoint can do."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest
from tracked import Runs
from train_fixtures import cache, runs, specimens, words

from hyperspec.cli.main import main as hyperspec
from hyperspec.cli.train import main

__all__ = ["cache", "runs", "specimens", "words"]  # fixtures
pytestmark = pytest.mark.slow


def test_windows_find_each_other_and_the_checkpoint_works(
    words: list[str],
    runs: Runs,
    specimens: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = [*words, "views=cross_modal", "model.stem=wavelength", "views.fusion=attention"]
    told += ["bands.n=12", "~views.windows_nm.visible", "evaluation.every_n_epochs=1"]
    told += ["objective=val/window_retrieval_top1"]
    assert main([*told, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    (run,) = runs()
    metrics = run.data.metrics
    for part in ("val", "test"):
        there = metrics[f"{part}/window_retrieval_uv_nir"]
        back = metrics[f"{part}/window_retrieval_nir_uv"]
        assert metrics[f"{part}/window_retrieval_top1"] == pytest.approx((there + back) / 2)
        assert 0 < metrics[f"{part}/window_retrieval_chance"] < 0.5
    assert metrics["objective"] == metrics["val/window_retrieval_top1"]
    assert metrics["train/loss"] == pytest.approx(
        metrics["train/loss_cross"] + metrics["train/loss_intra"], rel=1e-5
    )
    assert metrics["grad_norm/shared"] > 0

    ckpt, folder = str(tmp_path / "run" / "last.ckpt"), str(specimens)
    assert hyperspec(["evaluate", ckpt, folder]) == 0
    assert hyperspec(["embed", ckpt, folder, "--out", "e.parquet"]) == 0
    table = pd.read_parquet("e.parquet")
    assert len(table["embedding"].iloc[0]) == 128  # fused by attention
    capsys.readouterr()
    caplog.set_level(logging.ERROR)
    assert hyperspec(["evaluate", ckpt, folder, "--bands", "full"]) == 2
    assert "belongs to its windows' bands" in capsys.readouterr().err + caplog.text
    capsys.readouterr()
    assert main([*told, f"ckpt={ckpt}", "bands.n=20", "epochs=3"]) == 2
    assert "cannot be continued on other bands with views=cross_modal" in capsys.readouterr().err


def test_a_window_without_a_band_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "views=cross_modal", "bands.n=1"]) == 2
    shown = capsys.readouterr().err
    assert "views.windows_nm.uv is 348 to 400 nm, but none of the 1 chosen bands" in shown
