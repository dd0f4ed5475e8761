"""Sweeps over rotating parts: the axis that they add, what each job is, and resuming."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.entities import Run
from sweep_study import Study

from hyperspec.cli.main import main as command
from hyperspec.cli.train import main
from hyperspec.inference.restore import restore
from hyperspec.report.load import load_sweep
from hyperspec.report.summary import summarise
from hyperspec.tracking.client import open_client
from hyperspec.tracking.contract import Artifact, Tag
from hyperspec.tracking.health import local_folder
from hyperspec.training.checkpoint import read_checkpoint

QUICK = ["evaluation.linear=false", "evaluation.controls=false", "sweep.report=false"]


def rotation_of(run: Run) -> int:
    return int(run.data.params["data.split.rotation"])


def checkpoint(run: Run) -> Path:
    return local_folder(run.info.artifact_uri) / Artifact.CHECKPOINT


def weights(run: Run) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(checkpoint(run))["state_dict"]
    return state


def predictions(run: Run) -> pd.DataFrame:
    folder = local_folder(run.info.artifact_uri)
    return pd.read_csv(folder / Artifact.PREDICTIONS)


@pytest.mark.slow
def test_a_sweep_runs_every_rotation_and_only_what_is_missing(
    study: Study, small_specimens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*study.words, *QUICK, "-m", "bands=variance", "bands.n=5", "data.split.rotate=3"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "sweep: 3 jobs\n" in shown
    assert "  data.split.rotation: 0, 1, 2\n" in shown
    assert "sweep 3/3" in shown
    jobs = study.jobs()
    assert [rotation_of(run) for run in jobs] == [0, 1, 2]
    assert {run.data.params["data.split.rotate"] for run in jobs} == {"3"}
    assert all(f"rotation={rotation_of(run)} seed=0" in run.info.run_name for run in jobs)
    assert len({run.data.tags["hyperspec.split.hash"] for run in jobs}) == 3
    assert len({run.data.tags["hyperspec.data.hash"] for run in jobs}) == 1, "one store for all"
    files = [file for run in jobs for file in predictions(run)["file"]]
    assert len(files) == 64
    assert Counter(files) == dict.fromkeys(files, 1)

    data = load_sweep(study.uri, ["latest"], study.folder.name)
    assert data.jobs["rotation"].tolist() == [0.0, 1.0, 2.0]
    summary = summarise(data)
    assert summary.extra_names == ()
    assert [(p.num_seeds, len(p.run_ids)) for p in summary.points] == [(1, 3)]
    objectives = [run.data.metrics["objective"] for run in jobs]
    assert summary.points[0].objective == pytest.approx(sum(objectives) / 3)

    # Their test parts differ, so that no matrix is made of them.
    paths = [str(checkpoint(run)) for run in jobs[:2]]
    assert command(["evaluate", *paths, str(small_specimens), "--bands", "variance:5"]) == 2
    assert "was trained on another split" in " ".join(capsys.readouterr().err.split())

    open_client(study.uri).delete_run(jobs[1].info.run_id)
    assert main(words) == 0
    again = study.jobs()[2:]
    assert [rotation_of(run) for run in again] == [0, 1, 2]
    assert ["hyperspec.resumed_from" in run.data.tags for run in again] == [True, False, True]
    for name in ("val/knn_top1", "test/knn_top1"):
        assert again[1].data.metrics[name] == jobs[1].data.metrics[name]


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(3))
def test_test_cubes_change_no_validation_score_band_or_weight(
    study: Study, small_specimens: Path, tmp_path: Path, turn: int
) -> None:
    folder = Path(shutil.copytree(small_specimens, tmp_path / "specimens"))
    cache = f"data.cache_dir={tmp_path / 'cache'}"
    words = [*study.words, f"data.root={folder}", cache, "bands=variance", "bands.n=5"]
    words += ["data.split.rotate=3", f"data.split.rotation={turn}", "evaluation.controls=false"]
    assert main(words) == 0
    (first,) = study.jobs()
    said = predictions(first)
    for file in said["file"]:
        path = folder / file
        raw = np.fromfile(path, np.uint16)
        (raw[::-1] // 2).tofile(path)
    assert main(words) == 0
    again = study.jobs()[-1]
    tags = ["hyperspec.split.hash", "hyperspec.bands.hash", "hyperspec.bands.wavelengths_nm"]
    assert [again.data.tags[tag] for tag in tags] == [first.data.tags[tag] for tag in tags]
    assert again.data.tags["hyperspec.data.hash"] != first.data.tags["hyperspec.data.hash"]
    kept = [name for name in first.data.metrics if name.startswith(("val/", "train/"))]
    assert {"val/knn_top1", "val/linear_top1", "train/loss"} <= set(kept)
    for name in kept:
        assert again.data.metrics[name] == first.data.metrics[name], name
    before, after = weights(first), weights(again)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert predictions(again)["linear"].tolist() != said["linear"].tolist()


def test_labels_may_be_missing_from_test_and_validation(study: Study) -> None:
    # Four specimens of each label in five parts: every part lacks some labels.
    words = [*study.words, "-m", "bands=mrmr", "bands.n=5", "data.split.rotate=5"]
    words += ["evaluation.evaluators=[knn,linear,retrieval,clusters,alignment,view_retrieval]"]
    assert main([*words, "data.split.rotation=0,3"]) == 0
    jobs = study.jobs()
    assert {rotation_of(run) for run in jobs} == {0, 3}
    for run in jobs:
        assert predictions(run)["label"].nunique() < 8
        assert 0 <= run.data.metrics["test/linear_balanced"] <= 1
        assert run.data.tags[Tag.NUM_CLASSES] == "8"


def test_a_dry_run_counts_rotations_beside_the_other_axes(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*study.words, "-m", "seed=0,1", "data.split.rotate=4", "bands.n=5"]
    words += ["sweep.dry_run=true"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "sweep: 8 jobs\n" in shown
    assert "data.split.rotation: 0, 1, 2, 3" in shown
    assert main([*words, "data.split.rotation=2"]) == 0
    assert "sweep: 2 jobs\n" in capsys.readouterr().out
    assert main([*words, "data.split.rotation=1,3"]) == 0
    assert "sweep: 4 jobs\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["data.split.rotate=4,5"], "data.split.rotate has several values (4, 5)"),
        (["data.split.rotation=0,1"], "but data.split.rotate is null"),
        (["data.split.rotate=4", "data.split.rotation=3,4"], "has the rotations 0 to 3"),
        (
            ["search=random", "lr=choice(0.001,0.002)", "data.split.rotate=4",
             "data.split.rotation=choice(0,1)"],
            "data.split.rotation is searched",
        ),
        (
            ["search=random", "lr=choice(0.001,0.002)", "data.split.rotate=choice(3,4)"],
            "data.split.rotate is searched",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_rotated_is_refused_before_the_first_job(
    study: Study, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*study.words, "-m", "bands.n=5", *words]) == 2
    assert text in " ".join(capsys.readouterr().err.split())
    assert study.runs() == []


def test_no_rotation_goes_on_from_what_its_test_part_trained(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*study.words, *QUICK, "bands.n=5", "data.split.rotate=3"]
    assert main([*words, "data.split.rotation=0"]) == 0
    (first,) = study.jobs()
    ckpt = checkpoint(first)
    restored = restore(ckpt)  # what evaluate, embed and importance do
    assert restored.same_data
    assert restored.material.split.hash == first.data.tags["hyperspec.split.hash"]
    words += [f"ckpt={ckpt}", "epochs=3"]
    assert main([*words, "data.split.rotation=1"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "than data.split.rotation=1 trains on: specimens that are tested here would" in said
    assert main([*words, "data.split.rotation=0"]) == 0


def test_a_run_of_its_own_says_how_to_choose(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*study.words, "bands.n=5", "data.split.rotate=4"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "A sweep runs them all (hyperspec train -m ...)" in said
    assert "give data.split.rotation=0 (to 3)" in said
    assert study.runs() == []
