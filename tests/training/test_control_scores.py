"""Controls of a run: fitted on its training part alone, at its bands, in blocks of pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_material import data, original, overwrite
from tracked import Runs, artifact
from train_fixtures import cache, runs, specimens, words

from hyperspec.bands import Binned, Strategy, Uniform
from hyperspec.cli.train import main
from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.evaluation.config import Evaluation
from hyperspec.evaluation.controls import rgb
from hyperspec.evaluation.controls.spectra import mean_spectra
from hyperspec.evaluation.embeddings import Held
from hyperspec.evaluation.metrics import CONTROLS
from hyperspec.evaluation.scores import EvaluationResult
from hyperspec.models.config import TinyConfig
from hyperspec.models.encoder import build_encoder
from hyperspec.training import controls
from hyperspec.training.builders import normalise_and_reduce
from hyperspec.training.controls import PARTS, ControlScorer, check_weights
from hyperspec.training.data import Material, gather
from hyperspec.training.embedder import Embedder
from hyperspec.utils.errors import ConfigError

__all__ = ["cache", "original", "runs", "specimens", "words"]  # fixtures

WHOLE_SPLIT = ["untrained", "mean_spectrum", "image_stats", "random_features", "pls_da", "lda"]


def scorer(material: Material, normalisation: str = "zscore", **settings: object) -> ControlScorer:
    made, reduction = normalise_and_reduce(normalisation, material)
    torch.manual_seed(0)
    nm = material.selection.wavelengths_nm
    encoder = build_encoder(TinyConfig(stem="projection", stem_channels=4, norm="batch"), nm)
    bank = PlaneBank(
        material.source, material.selection.indices, torch.device("cpu"), Residency("mmap", "")
    )
    embedder = Embedder(encoder, made, bank, reduction)
    rows = material.split.parts()

    def untrained() -> dict[str, Held]:
        known = (material.labels, material.specimens, material.files)
        return {
            part: Held.of(embedder.embed(torch.from_numpy(rows[part])).numpy(), rows[part], *known)
            for part in PARTS
        }

    return ControlScorer(material, embedder, Evaluation(resamples=100, k=3, **settings), untrained)  # type: ignore[arg-type]


def scored(folder: Path, strategy: Strategy, **settings: object) -> dict[str, EvaluationResult]:
    return scorer(gather(data(folder), strategy), **settings).score(["knn", "linear"])


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "specimens"))


@pytest.mark.parametrize("strategy", [Uniform(n=6), Binned(n=4)], ids=["uniform", "binned"])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_held_out_cubes_change_nothing_that_is_fitted(
    folder: Path, part: str, strategy: Strategy
) -> None:
    before = scored(folder, strategy)
    assert list(before) == WHOLE_SPLIT
    material = gather(data(folder), strategy)
    for row in material.split.parts()[part]:
        overwrite(folder, material.files[row])
    after = scored(folder, strategy)
    other, own = (
        ("control/", "control_val/") if part == "validation" else ("control_val/", "control/")
    )
    for name, result in before.items():
        same = {key: value for key, value in result.metrics.items() if key.startswith(other)}
        assert same
        assert same == {key: after[name].metrics[key] for key in same}, name
        held = {"control/": "test", "control_val/": "validation"}
        pd.testing.assert_frame_equal(
            result.predictions[held[other]], after[name].predictions[held[other]]
        )
    # That it would be seen: what is said of the changed cubes differs.
    assert any(
        after[name].metrics[key] != value
        for name, result in before.items()
        for key, value in result.metrics.items()
        if key.startswith(own)
    )


def test_features_are_those_of_every_image_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = gather(data(folder), Uniform(n=6))
    rows = material.split.parts()["test"].tolist()
    one = scorer(material, "none")
    means = mean_spectra(
        material.source.planes(rows, material.selection), material.source.masks(rows)
    )
    found = one.features("mean_spectrum")["test"]
    np.testing.assert_allclose(found.matrix, means, rtol=1e-6)
    assert found.files == [material.files[row] for row in rows]
    assert one.features("image_stats")["test"].matrix.shape == (len(rows), 24)
    monkeypatch.setattr(controls, "_BLOCK", 3)
    other = scorer(material, "none")
    for name in ("image_stats", "random_features", "mean_spectrum"):
        np.testing.assert_allclose(
            one.features(name)["test"].matrix,
            other.features(name)["test"].matrix,
            rtol=1e-4,
            atol=1e-5,
        )


def test_pixels_are_read_in_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    material = gather(data(folder), Uniform(n=6))
    most = []
    whole = type(material.source).planes

    def noting(self, rows, bands=None, out=None):
        most.append(len(rows))
        return whole(self, rows, bands, out)

    monkeypatch.setattr(type(material.source), "planes", noting)
    scorer(material, controls=WHOLE_SPLIT[1:]).score(["knn"])
    assert len(material.source) > 20
    assert max(most) == 8


def test_the_picture_of_an_eye_needs_weights_and_colour(
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torchvision.models import resnet18

    material = gather(data(folder), Uniform(n=6))
    caplog.set_level("INFO")
    monkeypatch.setattr(rgb, "_SIDE", 32)  # a hundredth of the time
    assert scorer(material, controls=["rgb_encoder"]).score(["knn"]) == {}
    (line,) = [one for one in caplog.messages if "rgb_encoder" in one]
    assert "evaluation.rgb_weights names no file of weights, and none is downloaded" in line
    torch.manual_seed(0)
    torch.save(resnet18(weights=None).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"evaluation\.rgb_weights=nowhere\.pt is not a file"):
        check_weights(Evaluation(rgb_weights="nowhere.pt"))
    check_weights(Evaluation(rgb_weights="nowhere.pt", controls=False))
    given = {"controls": ["rgb_encoder"], "rgb_weights": str(tmp_path / "weights.pt")}
    (found,) = scorer(material, **given).score(["knn", "linear"]).values()
    assert {"control/rgb_encoder_knn_top1", "control_val/rgb_encoder_linear_top1"} <= set(
        found.metrics
    )
    # Test cubes set no exposure: validation says the same whatever they hold.
    for row in material.split.test:
        overwrite(folder, material.files[row])
    (again,) = scorer(gather(data(folder), Uniform(n=6)), **given).score(["knn"]).values()
    name = "control_val/rgb_encoder_knn_top1"
    assert again.metrics[name] == found.metrics[name]


def test_a_run_logs_every_control_of_both_parts(words: list[str], runs: Runs) -> None:
    assert main([*words, "bands.n=5", "epochs=1", "evaluation.controls=true"]) == 0
    assert main([*words, "bands.n=5", "epochs=1", "evaluation.controls=[lda,image_stats]"]) == 0
    every, two = (run.data.metrics for run in runs())

    def controls_of(metrics: dict[str, float], prefix: str) -> set[str]:
        return {
            name
            for name in CONTROLS
            for key in metrics
            if key.startswith(f"{prefix}/{name}_") and key.endswith("top1")
        }

    for prefix in ("control", "control_val"):
        assert controls_of(every, prefix) == set(WHOLE_SPLIT)
        assert controls_of(two, prefix) == {"lda", "image_stats"}
    assert two["control/lda_top1"] == every["control/lda_top1"]
    table = pd.read_csv(artifact(runs()[0], "evaluation/control_predictions.csv"))
    for name, metric in {
        "lda_correct": "lda_top1", "pls_da_correct": "pls_da_top1",
        "image_stats_knn_correct": "image_stats_knn_top1",
        "random_features_linear_correct": "random_features_linear_top1",
    }.items():  # fmt: skip
        assert table[name].mean() == pytest.approx(every[f"control/{metric}"])
    labels = table["label"].value_counts()
    assert every["test/majority_share"] == pytest.approx(labels.max() / labels.sum())
