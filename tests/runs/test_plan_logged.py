"""Each run logs what was predicted beside what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tracked import Runs
from train_fixtures import cache, runs, specimens, words

from hyperspec.cli.train import main
from hyperspec.runs.planning import logged as record

__all__ = ["cache", "runs", "specimens", "words"]  # fixtures


def test_run_logs_the_prediction_and_remembers_it(
    words: list[str], runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        *words,
        "bands.n=6",
        "hardware.plan=true",
        "data.store=none",
        f"data.cache_dir={tmp_path / 'own'}",
    ]
    assert main(words) == 0
    metrics = runs()[0].data.metrics
    assert metrics["plan/gflop_per_step"] > 0
    assert metrics["plan/peak_memory_mb"] == pytest.approx(metrics["cost/peak_memory_mb"], rel=0.25)
    (kept,) = (tmp_path / "own" / "plans").glob("*.json")
    assert json.loads(kept.read_text())["flop"] == metrics["plan/gflop_per_step"] * 1e9

    def refuse(*given: object) -> None:
        raise AssertionError("planned anew")

    monkeypatch.setattr(record, "plan_step", refuse)
    assert main([*words, "seed=1", "loss.temperature=0.3"]) == 0
    again = runs()[-1].data.metrics
    assert again["plan/gflop_per_step"] == metrics["plan/gflop_per_step"]
