"""From training once to the table that says how far its curve can be trusted, by three commands."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tracked import Runs, artifact
from train_fixtures import cache, runs, specimens, words

from hyperspec.cli.main import main as hyperspec
from hyperspec.cli.train import main

__all__ = ["cache", "runs", "specimens", "words"]  # fixtures
COUNTS = (5, 10, 20)


@pytest.mark.slow
def test_a_curve_and_its_retrained_points(
    words: list[str],
    runs: Runs,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shared = [word for word in words if word != "experiment=demo"]
    shared += ["model=tiny", "data=synthetic", "batch_size=16", "sweep.live=off"]
    counts = ",".join(map(str, COUNTS))
    chosen = ["evaluation.curve_strategies=[uniform]", f"evaluation.curve_counts=[{counts}]"]
    assert main([*shared, "experiment=one_shot_curve", *chosen, "-m", "seed=0,1"]) == 0
    assert capsys.readouterr().out.count("one-shot curve, test k-NN: uniform 5: 0.") == 2
    swept = ["bands=uniform", f"bands.n={counts}", "seed=0,1"]
    assert main([*shared, "experiment=one_shot_retrain", *swept]) == 0
    jobs = [run for run in runs() if "mlflow.parentRunId" in run.data.tags]
    once = [run for run in jobs if run.data.params["study"] == "one_shot_curve"]
    alone = [run for run in jobs if run.data.params["study"] == "one_shot_retrain"]
    assert [len(once), len(alone)] == [2, 6]
    assert {run.info.status for run in jobs} == {"FINISHED"}
    assert {run.data.params["model.stem"] for run in jobs} == {"wavelength"}
    uri = next(word for word in words if word.startswith("tracking.uri=")).partition("=")[2]
    told = ["one-shot", "--curve", "one_shot_curve", "--retrained", "one_shot_retrain"]
    assert hyperspec([*told, "--uri", uri, "--out", "note.md", "--resamples", "200"]) == 0
    lines = [
        line.split("|") for line in Path("note.md").read_text().splitlines() if "uniform" in line
    ]
    assert [int(line[2]) for line in lines] == list(COUNTS)
    for line, n in zip(lines, COUNTS, strict=True):
        tables = [pd.read_csv(artifact(run, "evaluation/curve.csv")) for run in once]
        # One count of one strategy per row.
        means = [float(t[t["n"] == n].filter(like="knn_top1").iloc[0, 0]) for t in tables]
        assert float(line[3]) == pytest.approx(sum(means) / 2, abs=6e-4)
        own = [r.data.metrics["test/knn_top1"] for r in alone if r.data.params["bands.n"] == str(n)]
        assert float(line[4]) == pytest.approx(sum(own) / 2, abs=6e-4)
    assert "2 seeds, 8 test specimens" in Path("note.md").read_text()
