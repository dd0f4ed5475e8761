"""`evaluation.curve_strategies` through the real entrypoint: one encoder on many sets of bands."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from learned_fixtures import runs, specimens, words
from tracked import Runs, artifact

from hyperspec.cli.train import main

__all__ = ["runs", "specimens", "words"]  # fixtures


@pytest.fixture
def curved(words: list[str]) -> list[str]:
    kept = [w for w in words if not w.startswith("bands")]
    return [
        *kept,
        *("bands=full", "epochs=1", "model.stem=wavelength", "model.sampling_minimum=3"),
        "evaluation.curve_counts=[3,24]",
        "evaluation.curve_strategies=[uniform,mrmr]",
    ]


def test_the_curve_is_logged_and_ends_at_the_runs_own_score(curved: list[str], runs: Runs) -> None:
    assert main(curved) == 0
    (run,) = runs()
    with artifact(run, "evaluation/curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["strategy"], row["n"]) for row in rows] == [
        *(("uniform", "3"), ("uniform", "24")),
        *(("mrmr", "3"), ("mrmr", "24")),
    ]
    own = run.data.metrics["test/knn_top1"]
    for row in (rows[1], rows[3]):
        assert float(row["knn_top1"]) == pytest.approx(own)
        assert float(row["linear_top1"]) == pytest.approx(run.data.metrics["test/linear_top1"])
    assert run.data.metrics["curve/uniform_knn_top1"] == pytest.approx(own)
    with artifact(run, "evaluation/curve_predictions.csv").open() as file:
        said = list(csv.DictReader(file))
    first = [int(r["knn_correct"]) for r in said if (r["strategy"], r["n"]) == ("uniform", "3")]
    assert np.mean(first) == pytest.approx(float(rows[0]["knn_top1"]))
    assert artifact(run, "pictures/curve.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ("evaluation.curve_counts=[3,25]", "curve_counts holds 25, but the folder has 24 good"),
        ("evaluation.curve_counts=[0]", "evaluation.curve_counts is 0; give a whole number"),
        ("evaluation.curve_strategies=[rgb]", "holds 'rgb', which chooses no given number"),
        ("model.stem=projection", "the weights of model.stem=projection belong to its own bands"),
        ("bands=binned", "the channels of bands=binned are sums of bands"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    curved: list[str], extra: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [w for w in curved if w.split("=")[0] != extra.split("=")[0]]
    if extra.startswith("model.stem"):
        kept = [w for w in kept if not w.startswith("model.sampling")]
    more = ["bands.n=4"] if extra.startswith("bands") else []
    assert main([*kept, extra, *more]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert text in shown
    assert "Traceback" not in shown
