from __future__ import annotations

from pathlib import Path

import pytest
from fake_sweeps import FakeSweep
from omegaconf import DictConfig, OmegaConf

from hyperspec.report.cohorts import best_job
from hyperspec.report.load import load_sweep
from hyperspec.sweeps.description import closing, opening, question
from hyperspec.tracking.run import start_run


def composed(folder: Path, choice: str | None) -> DictConfig:
    source = {"path": str(folder), "schema": "file", "provider": "main"}
    runtime = {"choices": {"experiment": choice}, "config_sources": [source]}
    return OmegaConf.create({"hydra": {"runtime": runtime}})


def overlay(folder: Path, text: str) -> None:
    (folder / "experiment").mkdir()
    (folder / "experiment" / "band_count.yaml").write_text(text)


def test_the_note_asks_what_the_overlay_asks(tmp_path: Path) -> None:
    overlay(
        tmp_path,
        "# @package _global_\n# Question: how many bands\n#           are enough?\n# Jobs: 6\n",
    )
    config = composed(tmp_path, "band_count")
    note = opening(config, "band_count", "hyperspec train -m n=1,2", {"n": "1,2", "a": "x|y"})
    assert note.startswith("Study **band_count**: how many bands are enough?\n\n```\nhyperspec")
    assert "| `n` | `1,2` |" in note
    assert "| `a` | `x\\|y` |" in note
    assert "report/report.html" in note


@pytest.mark.parametrize("choice", [None, "other"])
def test_no_overlay_is_no_question(tmp_path: Path, choice: str | None) -> None:
    assert question(composed(tmp_path, choice)) == ""


def test_an_overlay_without_a_question_has_none(tmp_path: Path) -> None:
    overlay(tmp_path, "# Command: x\n")
    assert question(composed(tmp_path, "band_count")) == ""


def test_the_best_job_of_a_loss_has_the_lowest(fake_sweep: FakeSweep) -> None:
    for n, loss in ((10, 3.0), (20, 1.0), (50, 2.0)):
        fake_sweep.job(
            "uniform", n, params={"objective": "train/loss"}, metrics={"objective": loss}
        )
    best = best_job(load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id]))
    assert best is not None
    assert best["n"] == 20


def test_the_outcome_follows_the_question(fake_sweep: FakeSweep) -> None:
    for n, score in ((10, 0.5), (50, 0.75)):
        fake_sweep.job("uniform", n, knn=score)
    with (
        pytest.raises(RuntimeError),
        start_run(fake_sweep.connection, "broken", parent_run_id=fake_sweep.parent.run_id),
    ):
        raise RuntimeError("planned")
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    before = opening(composed(Path(), None), "s", "cmd", {})
    said = ["8 specimens were tested.", "Nothing is known of training."]
    note = closing(before, data, "7", "models:/m-1", said)
    asked, verdict, head, best, model, *_ = note.split("\n\n")
    assert verdict == "8 specimens were tested. Nothing is known of training."
    assert head == (
        "**3 jobs: 2 finished, 1 failed.** "
        f"[Report](#/experiments/7/runs/{fake_sweep.parent.run_id}/artifacts/report/report.html)"
    )
    assert "a candidate and no more: [uniform n=050 seed=0](#/experiments/7/runs/" in best
    assert "objective 0.740, test k-NN 0.750 [" in best
    assert 'load_model("models:/m-1")' in model
    assert asked == "Study **s**."
    assert "when the sweep has ended" not in note
