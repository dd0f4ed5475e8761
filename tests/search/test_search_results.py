"""What a search says it found."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from fake_sweeps import FakeSweep

from hyperspec.search.results import find_outcome, publish
from hyperspec.tracking.client import open_client
from hyperspec.tracking.parent import ParentInfo, write_parent


def test_what_auto_stood_for_is_named(
    fake_sweep: FakeSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_sweep.job("uniform", 10, knn=0.5)
    fake_sweep.job("uniform", 20, knn=0.8)
    fake_sweep.parent.finish()
    run_id, connection = fake_sweep.parent.run_id, fake_sweep.connection
    write_parent(tmp_path, ParentInfo(run_id, connection.uri, connection.experiment, "s", "s"))
    study = optuna.create_study(study_name="s", direction="maximize")
    for n, value in ((10, 0.49), (20, 0.79)):
        drawn = optuna.distributions.IntDistribution(1, 100)
        study.add_trial(
            optuna.create_trial(params={"n": n}, distributions={"n": drawn}, value=value)
        )
    publish(study, find_outcome(study, ["auto"], ["maximize"]), 2, tmp_path)
    printed = capsys.readouterr().out
    assert "Highest val/knn_top1, a candidate by" in printed
    assert "- trial 1: 0.79 with `n=20`" in printed
    tags = open_client(connection.uri).get_run(run_id).data.tags
    assert tags["hyperspec.objectives"] == "val/knn_top1"
    assert "Highest val/knn_top1" in tags["mlflow.note.content"]
