"""The entrypoint as people use it: words of a command line in, runs in MLflow out."""

from __future__ import annotations

import csv
import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.entities import Run
from tracked import Runs, artifact
from train_fixtures import cache, runs, specimens, words

from hyperspec.cli.main import main as hyperspec
from hyperspec.cli.train import main
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.evaluation.embeddings import Embeddings
from hyperspec.evaluation.evaluators import register_evaluator
from hyperspec.evaluation.metrics import Metric
from hyperspec.report.load import load_sweep
from hyperspec.report.summary import summarise
from hyperspec.report.tables import ranking
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

__all__ = ["cache", "runs", "specimens", "words"]  # fixtures


def test_one_run_is_kept_whole(
    words: list[str], runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    controls = "evaluation.controls=[untrained,mean_spectrum]"
    assert main([*words, "bands.n=7", "seed=3", controls]) == 0
    (run,) = runs()
    shown = capsys.readouterr().out
    assert f"objective {run.data.metrics['objective']:.3f}" in shown
    assert f"{run.data.metrics['test/knn_top1']:.3f} [" in shown
    printed = next(line for line in shown.splitlines() if line.startswith("checkpoint: "))
    assert Path(printed.removeprefix("checkpoint: ")).is_file()
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "uniform n=007 t=0.20 lr=1e-3 seed=3"
    params, tags, metrics = run.data.params, run.data.tags, run.data.metrics
    assert (params["bands"], params["bands.n"], params["lr"]) == ("uniform", "7", "0.001")
    assert (params["loss.temperature"], params["model"], params["seed"]) == ("0.2", "tiny", "3")
    bands = json.loads(artifact(run, "bands.json").read_text())
    assert len(bands["indices"]) == 7
    assert bands["indices"][0] == 0
    assert bands["indices"][-1] == 39
    assert tags["hyperspec.bands.hash"] == bands["hash"]
    assert tags["hyperspec.bands.n"] == "7"
    assert len(tags["hyperspec.split.hash"]) == 12
    assert tags["hyperspec.data.hash"]
    assert metrics["objective"] == metrics["val/knn_top1"]
    for name in ("test/knn_top1", "test/linear_top1", "control/untrained_knn_top1"):
        assert 0 <= metrics[name] <= 1
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"]
    assert metrics["control/mean_spectrum_linear_top1"] <= 1
    assert metrics["cost/peak_memory_mb"] > 50
    assert metrics["cost/samples_per_second"] > 0
    with artifact(run, "evaluation/test_predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    # 8 species, 4 specimens each: 2 train, 1 validation, 1 test, two views
    assert len(rows) == 16
    right = np.mean([int(row["knn_correct"]) for row in rows])
    assert right == pytest.approx(metrics["test/knn_top1"])
    with artifact(run, "evaluation/control_predictions.csv").open() as file:
        beside = list(csv.DictReader(file))
    assert [row["file"] for row in beside] == [row["file"] for row in rows]
    for control in ("untrained_knn", "untrained_linear", "mean_spectrum_knn"):
        right = np.mean([int(row[f"{control}_correct"]) for row in beside])
        assert right == pytest.approx(metrics[f"control/{control}_top1"])
    assert artifact(run, "checkpoints/last.ckpt").stat().st_size > 100_000
    assert "temperature: 0.2" in artifact(run, "config.yaml").read_text()
    assert artifact(run, "pictures/bands.png").stat().st_size > 5_000


def scores(run: Run) -> dict[str, float]:
    return {k: v for k, v in run.data.metrics.items() if not k.startswith(("cost/", "system/"))}


def test_jobs_of_one_process_score_as_each_alone(words: list[str], runs: Runs) -> None:
    assert main([*words, "-m", "bands.n=5,9", "sweep.report=true"]) == 0
    assert main([*words, "bands.n=9"]) == 0
    assert main([*words, "bands.n=5"]) == 0
    parent, five, nine, nine_alone, five_alone = runs()
    assert scores(five) == scores(five_alone)
    assert scores(nine) == scores(nine_alone)
    assert scores(five) != scores(nine)
    assert parent.info.status == "FINISHED"
    for child in (five, nine):
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (artifact(parent, "report") / "report.html").exists()


def test_a_job_leaves_no_planes_in_memory(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer and its module hold each other, and the planes of a whole data set with them."""
    banks: weakref.WeakSet[PlaneBank] = weakref.WeakSet()
    alive: list[int] = []
    build = PlaneBank.__init__

    def counted(self: PlaneBank, *given: Any, **named: Any) -> None:
        alive.append(len(banks))
        banks.add(self)
        build(self, *given, **named)

    monkeypatch.setattr(PlaneBank, "__init__", counted)
    gc.disable()  # else it may come by at the right time
    try:
        assert main([*words, "-m", "seed=1,2,3", "bands.n=5"]) == 0
    finally:
        gc.enable()
    assert alive == [0, 0, 0]
    assert not banks


def test_seed_0_is_a_seed(words: list[str], runs: Runs) -> None:
    for _ in range(2):
        assert main([*words, "bands.n=5", "seed=0"]) == 0
    assert main([*words, "bands.n=5", "seed=1"]) == 0
    first, again, other = runs()
    assert scores(first) == scores(again)
    assert scores(first) != scores(other)


@pytest.mark.parametrize(
    "way",
    [
        ["data.residency=mmap"],
        ["data.residency=pinned"],
        ["data.store=none"],
        ["hardware.num_workers=1", "data.residency=mmap", "hardware.persistent_workers=true"],
    ],
)
def test_where_the_planes_live_changes_nothing(
    words: list[str], way: list[str], runs: Runs
) -> None:
    assert main([*words, "bands.n=5"]) == 0
    assert main([*words, "bands.n=5", *way]) == 0
    first, second = runs()
    assert scores(first) == pytest.approx(scores(second), rel=1e-4)


def test_micro_batches_change_nothing_but_rounding(words: list[str], runs: Runs) -> None:
    base = [*words, "bands.n=5", "model.norm=group", "views=light", "views.noise_sd=0"]
    assert main([*base, "hardware.micro_batch=32"]) == 0
    assert main([*base, "hardware.micro_batch=32"]) == 0
    one, two = runs()
    assert scores(one) == scores(two)


def test_continuing_from_a_checkpoint(words: list[str], runs: Runs) -> None:
    assert main([*words, "bands.n=5"]) == 0
    (run,) = runs()
    ckpt = artifact(run, "checkpoints/last.ckpt")
    assert main([*words, "bands.n=5", "epochs=4", f"ckpt='{ckpt}'"]) == 0
    assert runs()[-1].data.metrics["epoch"] == 3


def test_without_labels_the_objective_needs_none(words: list[str], runs: Runs) -> None:
    assert main([*words, "data/labels=none", "bands.n=5"]) == 0
    (run,) = runs()
    assert run.data.metrics["objective"] == run.data.metrics["val/rankme"]
    assert "val/knn_top1" not in run.data.metrics


def test_a_registered_evaluator_reaches_metrics_objective_print_and_report(
    words: list[str],
    runs: Runs,
    cache: Path,
    evaluator_tables: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = Metric("spread", range="from 0", direction="minimize", printed="val", column=True)

    @register_evaluator("spread", metrics=[row])
    def run_spread(embeddings: Embeddings) -> dict[str, float]:
        return {"spread": float(embeddings.part.matrix.std())}

    named = "evaluation.evaluators=[knn,spread]"
    assert main([*words, "bands.n=5", named, "objective=val/spread", "epochs=1"]) == 0
    (run,) = runs()
    metrics = run.data.metrics
    assert metrics["objective"] == metrics["val/spread"] > 0
    assert {"test/spread", "test/knn_top1"} <= metrics.keys()
    assert not {"val/rankme", "test/linear_top1", "val/view_retrieval_top1"} & metrics.keys()
    assert f"spread (validation)     {metrics['val/spread']:.3f}" in capsys.readouterr().out
    data = load_sweep(f"sqlite:///{cache / 'mlflow.db'}", [run.info.run_id])
    table = ranking(summarise(data))
    shown = dict(zip(table.columns, table.rows[0], strict=True))
    assert shown["test spread [95%]"] == f"{metrics['test/spread']:.3f}"
    assert shown["val/spread"] == f"{metrics['val/spread']:.3f}"


def test_labels_held_out_are_scored_apart_and_seen_by_none(
    words: list[str],
    specimens: Path,
    tmp_path: Path,
    runs: Runs,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ["Synthopteryx octava", "Synthopteryx prima"]
    held = f"data.split.hold_out=[{','.join(names)}]"
    assert main([*words, "bands.n=5", held, "evaluation.k=20"]) == 0
    assert main([*words, "bands.n=5", "evaluation.k=20"]) == 0
    run, without = runs()
    metrics, tags = run.data.metrics, run.data.tags
    assert tags["hyperspec.split.hash"] != without.data.tags["hyperspec.split.hash"]
    assert tags["hyperspec.data.num_classes"] == "6"
    with artifact(run, "evaluation/test_predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert not {row[key] for row in rows for key in ("label", "knn", "linear")} & set(names)
    assert not any(key.startswith("held_out/") for key in without.data.metrics)
    # Two labels of 4 specimens in 2 views: 14 rows of other specimens are fewer than k, so all of
    # them vote, and 8 of those are of the other label.
    assert metrics["held_out/knn_other_specimens"] == 0
    capsys.readouterr()

    ckpt, out = artifact(run, "checkpoints/last.ckpt"), tmp_path / "evaluation"
    command = ["evaluate", str(ckpt), str(specimens), "--k", "14", "--out", str(out)]
    assert hyperspec(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "train 24, validation 12, test 12, held_out 16" in printed
    assert f"held out: {', '.join(names)}. Its training left them out" in printed
    again = json.loads((out / "evaluation.json").read_text())
    for key in ("retrieval_map", "nmi", "knn_other_specimens"):
        assert again[f"held_out/label/{key}"] == pytest.approx(metrics[f"held_out/{key}"], abs=1e-6)


def test_another_folder_need_not_have_what_was_held_out(
    words: list[str],
    specimens: Path,
    tmp_path: Path,
    runs: Runs,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*words, "bands.n=5", "data.split.hold_out=[Synthopteryx prima]"]) == 0
    (run,) = runs()
    folder = tmp_path / "others"
    folder.mkdir()
    with (specimens / "labels.csv").open() as file:
        table = list(csv.DictReader(file))
    kept = [row for row in table if row["species"] != "Synthopteryx prima"]
    assert 0 < len(kept) < len(table)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(kept[0]))
        writer.writeheader()
        writer.writerows(kept)
    for row in kept:
        for path in specimens.glob(f"{row['file'].removesuffix('.bil')}*"):
            shutil.copy(path, folder)
    ckpt, out = artifact(run, "checkpoints/last.ckpt"), tmp_path / "evaluation"
    capsys.readouterr()
    assert hyperspec(["evaluate", str(ckpt), str(folder), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "train 28, validation 14, test 14\n" in printed
    assert "held out" not in printed


def test_importance_is_kept_with_the_run(
    words: list[str], specimens: Path, tmp_path: Path, runs: Runs
) -> None:
    told = ["bands.n=8", "evaluation.importance=true", "evaluation.importance_window_nm=130"]
    assert main([*words, *told]) == 0
    (run,) = runs()
    kept = artifact(run, "importance/importance.csv")
    with kept.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["mode"] for row in rows} == {"mean"}
    assert float(rows[0]["stop_nm"]) - float(rows[0]["start_nm"]) == pytest.approx(130)
    assert max(float(row["change"]) for row in rows) > 0
    assert artifact(run, "importance/importance.png").stat().st_size > 5_000
    # The command measures the same on the checkpoint.
    ckpt, out = artifact(run, "checkpoints/last.ckpt"), tmp_path / "importance"
    command = ["importance", str(ckpt), str(specimens), "--mode", "mean", "--window", "130"]
    assert hyperspec([*command, "--out", str(out)]) == 0
    with (out / "importance.csv").open() as file:
        again = list(csv.DictReader(file))
    for one, other in zip(rows, again, strict=True):
        for key in ("change", "change_low", "drop", "drop_high"):
            assert float(one[key]) == pytest.approx(float(other[key]), rel=1e-3, abs=1e-5)


def test_tiles_of_a_scene_train_without_labels(
    words: list[str], tmp_path: Path, runs: Runs
) -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(200, 4000, (30, 24, 48)).astype(np.uint16)
    folder = tmp_path / "scene"
    folder.mkdir()
    write_envi(folder / "scene.bil", scene, SpectralAxis.linear(400, 800, 30))
    tiles = ["data=tiles", "data.tile=8", "data.stride=4", f"data.root={folder}"]
    kept = [w for w in words if not w.startswith(("data.size", "data.root"))]
    assert main([*kept, *tiles, "bands.n=6", "epochs=1"]) == 0
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert np.isfinite(run.data.metrics["objective"])


def failing(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (["bands.n=0"], "error: bands.n is 0, but bands=uniform chooses 1 band at least"),
        (["bands.n=41"], "error: bands.n is 41, but the axis has 40 good bands"),
        (["loss.temperature=0"], "error: loss.temperature=0 is out of range"),
        (["batch_size=1"], "error: batch_size is 1, but contrastive learning"),
        (["data.labels.column=genus"], "error: The column 'genus' (needed by data.labels.column)"),
        (["data.root=/absent"], "/absent"),
        (["epoch=5"], "There is no key epoch in this config. Did you mean epochs?"),
        (["bands=unifrm"], "unifrm"),
        (
            ["data.split.hold_out=[Papilio]", "bands.n=5"],
            "hold_out names 'Papilio', which is neither",
        ),
        (["data.split.hold_out=[Synthopteryx]", "bands.n=5"], "holds out every specimen"),
        (
            ["evaluation.importance_window_nm=0", "bands.n=5"],
            "error: evaluation.importance_window_nm is 0; give a width in nanometres above 0",
        ),
        (["experiment=demmo"], "demmo"),
        (["bands=full", "bands.n=8"], "bands.n"),
        (["objective=test/knn_top1", "bands.n=5"], "nothing may be chosen on the test part"),
        (["ckpt=absent.ckpt", "bands.n=5"], "'absent.ckpt' does not exist"),
    ],
)
def test_bad_input_is_one_paragraph_and_leaves_no_run_running(
    words: list[str],
    extra: list[str],
    text: str,
    runs: Runs,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = failing([*words, *extra], capsys)
    assert text in shown
    assert "Traceback" not in shown
    assert all(run.info.status == "FAILED" for run in runs())


def test_broken_cubes_are_named(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "broken"
    synthesise(folder, SynthSettings(num_specimens=1, size=16, num_bands=12))
    cubes = sorted(folder.glob("Synth*.bil"))
    cubes[0].write_bytes(cubes[0].read_bytes()[:-10])
    kept = [w for w in words if not w.startswith("data.root")]
    shown = failing([*kept, f"data.root={folder}", "bands.n=5"], capsys)
    assert cubes[0].name in shown
    assert f"{16 * 16 * 12 * 2}" in shown
    assert f"{16 * 16 * 12 * 2 - 10}" in shown


def test_a_failed_job_leaves_its_neighbours(
    words: list[str], runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = [*words, "-m", "bands.n=5,41,6"]
    assert main([*failing, "sweep.dry_run=true"]) == 1
    assert main(failing) != 0
    told = "warning: 1 of 3 jobs will fail: bands.n is 41, but the axis has 40 good bands"
    assert capsys.readouterr().out.count(told) == 2
    parent, *jobs = runs()
    assert [job.info.status for job in jobs] == ["FINISHED", "FAILED", "FINISHED"]
    assert parent.info.status == "FAILED"
    assert "bands.n is 41" in artifact(jobs[1], "error/traceback.txt").read_text()
