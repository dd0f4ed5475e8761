"""Which wavelengths carry it, measured by itself at the end of a sweep, within its time."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from train_fixtures import cache, specimens, words

from hyperspec.cli.train import main
from hyperspec.evaluation.config import Evaluation
from hyperspec.report.load import load_sweep
from hyperspec.runs.identity import canonical
from hyperspec.utils.errors import ConfigError

__all__ = ["cache", "specimens", "words"]  # fixtures


def test_jobs_of_before_are_the_same_jobs() -> None:
    before = canonical(Evaluation(importance=False))
    assert canonical(Evaluation()) == before
    assert canonical(Evaluation(importance_seconds=1.0)) == before
    assert canonical(Evaluation(importance=True)) != before


@pytest.mark.parametrize("wrong", ["sometimes", 1, None])
def test_other_words_are_refused(wrong: object) -> None:
    with pytest.raises(
        ConfigError, match=r"evaluation\.importance is .*; give auto, true or false"
    ):
        Evaluation(importance=wrong)


@pytest.mark.slow
def test_a_sweep_ends_with_it(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = [*words, "-m", "bands=full", "seed=0,1", "sweep.report=true", "sweep.live=off"]
    sweep += ["hydra.sweep.dir=sweep", "epochs=1"]
    uri = next(w for w in words if w.startswith("tracking.uri=")).removeprefix("tracking.uri=")

    def tables() -> list[str]:
        data = load_sweep(uri, [str(tmp_path / "sweep")])
        return [run for run in data.jobs["run_id"] if data.swaps(run) is not None]

    # Its time is over before it begins: said, and the report is written without it.
    assert main([*sweep, "evaluation.importance_seconds=0"]) == 0
    out = capsys.readouterr().out
    assert "after the jobs: at most 0 s for which wavelengths carry it" in out
    assert "measured on 0 of 2 encoders" in out
    assert tables() == []
    # The same sweep again: nothing is trained, and it is made up for.
    assert main([*sweep, "evaluation.importance_seconds=600"]) == 0
    assert len(tables()) == 2
    page = (tmp_path / "sweep/report/report.html").read_text()
    assert "Which wavelengths carry it?" in page
    out = " ".join(capsys.readouterr().out.split())  # lines are broken at 80 characters
    assert "nm stands out" in out or "leans on" in out
    parent = load_sweep(uri, [str(tmp_path / "sweep")]).sweeps[0].run_id
    note = MlflowClient(uri).get_run(parent).data.tags["mlflow.note.content"]
    assert "nm stands out" in note or "leans on" in note
