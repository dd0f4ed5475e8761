"""``hyperspec one-shot`` on two sweeps of the real entrypoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_learning import Runs, runs, specimens, words

from hyperspec.cli import main as hyperspec
from hyperspec.train import main

__all__ = ["runs", "specimens", "words"]  # fixtures
pytestmark = pytest.mark.slow


def test_two_sweeps_are_compared(
    words: list[str], runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = [w for w in words if not w.startswith(("bands", "epochs"))]
    base += ["model.stem=wavelength", "epochs=1", "evaluation.controls=false"]
    curve = [
        *("bands=full", "model.sampling_minimum=3", "evaluation.curve_counts=[3,6,24]"),
        "evaluation.curve_strategies=[uniform]",
    ]
    assert main([*base, *curve, "-m", "seed=0,1"]) == 0
    once = runs()[0]
    assert main([*base, "bands=uniform", "-m", "bands.n=3,6,24", "seed=0,1"]) == 0
    alone = next(run for run in runs()[3:] if "mlflow.parentRunId" not in run.data.tags)
    capsys.readouterr()
    uri = next(w.split("=", 1)[1] for w in words if w.startswith("tracking.uri"))
    ids = ["--curve", once.info.run_id, "--retrained", alone.info.run_id]
    out = tmp_path / "table.md"
    assert hyperspec(["one-shot", *ids, "--uri", uri, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert out.read_text() in shown
    lines = [line for line in shown.splitlines() if line.startswith("| uniform")]
    assert [line.split("|")[2].strip() for line in lines] == ["3", "6", "24"]
    assert "over 3 points" in shown
    assert "2 seeds" in shown
    means = [
        sum(r.data.metrics["test/knn_top1"] for r in runs() if r.data.params.get("bands.n") == n)
        / 2
        for n in ("3", "6", "24")
    ]
    assert [float(line.split("|")[4]) for line in lines] == pytest.approx(means, abs=6e-4)
    wrong = ["--curve", alone.info.run_id, "--retrained", alone.info.run_id]
    assert hyperspec(["one-shot", *wrong, "--uri", uri]) == 2
    assert "share 0 sets of bands" in capsys.readouterr().err
