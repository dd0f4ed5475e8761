"""A scene with a map of labels through `hyperspec train`, by blocks and by a random split."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracked import Runs
from train_fixtures import cache, runs, specimens, words

from hyperspec.cli.train import main
from hyperspec.testing.synthetic.patchwork import write_patchwork

__all__ = ["cache", "runs", "specimens", "words"]  # fixtures


def test_tiles_with_a_map_are_scored_and_random_says_how_much_it_inflates(
    words: list[str],
    tmp_path: Path,
    runs: Runs,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write_patchwork(tmp_path / "scene", seed=5, patches=6)
    scene = ["data=tiles", "data/labels=map", "data.tile=8", "data.stride=4", f"data.root={root}"]
    scene += ["evaluation.random_split=true", "evaluation.evaluators=[knn]", "epochs=1"]
    dropped = ("data.size", "data.root", "epochs")
    kept = [word for word in words if not word.startswith(dropped)]
    assert main([*kept, *scene, "bands.n=4"]) == 0
    (run,) = runs()
    metrics = run.data.metrics
    # The truth is chance, a third; 9 patches of a quarter of the scene are tested.
    assert metrics["test/knn_top1"] < 0.7
    assert metrics["inflation/knn_top1"] > 0.15
    for name in ("knn_top1", "knn_balanced"):
        inflated = metrics[f"random_split/{name}"] - metrics[f"test/{name}"]
        assert metrics[f"inflation/{name}"] == pytest.approx(inflated)
    printed = capsys.readouterr().out
    assert f", balanced {metrics['test/knn_balanced']:.3f}" in printed
    assert f"images split at random: {metrics['random_split/knn_top1']:.3f} (balanced" in printed
    assert f"inflated by {metrics['inflation/knn_top1']:+.3f}" in printed


def test_a_map_for_a_folder_and_a_table_for_a_scene_are_refused(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*words, "data/labels=map", "bands.n=4"]) == 2
    assert "data/labels=map labels the pixels of scenes" in capsys.readouterr().err
    root = write_patchwork(tmp_path / "scene", seed=5, patches=2)
    kept = [word for word in words if not word.startswith(("data.size", "data.root"))]
    scene = ["data=tiles", "data.tile=8", "data.stride=4", f"data.root={root}", "bands.n=4"]
    assert main([*kept, *scene, "data/labels=csv"]) == 2
    assert "CsvLabels, which labels whole scenes" in capsys.readouterr().err
    (root / "scene_labels.npy").unlink()
    assert main([*kept, *scene, "data/labels=map"]) == 2
    assert "data/labels=map finds no map of labels" in capsys.readouterr().err
