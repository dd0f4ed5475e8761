"""Projections through the real entrypoint: trained, tagged, restored, fitted on training alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tracked import artifact, runs_of
from views_presets import PRESETS

from hyperspec.bands import PROJECTIONS, Binned, Cars, Filters, Ipls, Uniform, Vip
from hyperspec.cli.train import main
from hyperspec.config.hardware import Hardware
from hyperspec.config.schema import Train
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.catalogue.labels import CsvLabels
from hyperspec.datasets.config import FolderData
from hyperspec.inference.restore import restore
from hyperspec.losses.config import NtXentConfig
from hyperspec.models.config import TinyConfig
from hyperspec.models.stems.concrete import PhotonProjection
from hyperspec.spectra.band_projection import BandProjection
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.tracking.config import TrackingConfig
from hyperspec.training.builders import assemble
from hyperspec.training.data import gather


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reducing") / "specimens"
    return synthesise(folder, SynthSettings(num_specimens=4, size=16, num_bands=24))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.fixture
def words(
    specimens: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [
        *("experiment=demo", "data.size=16", "epochs=2", "hardware.threads=1"),
        "evaluation.controls=false",
        f"data.root={specimens}",
        f"data.cache_dir={specimens.parent / 'cache'}",
        f"tracking.uri={store}",
        f"tracking.experiment={tmp_path.name}",
    ]


@pytest.mark.parametrize("name", sorted(PROJECTIONS))
def test_a_projection_trains_and_travels(
    words: list[str], name: str, store: str, tmp_path: Path
) -> None:
    assert main([*words, f"bands={name}", "bands.n=5", "evaluation.controls=[mean_spectrum]"]) == 0
    (run,) = runs_of(store, tmp_path.name)
    assert run.info.run_name.startswith(f"{name} n=005")
    tags, params = run.data.tags, run.data.params
    assert (tags["hyperspec.bands.strategy"], tags["hyperspec.bands.n"]) == (name, "5")
    assert params["bands.count"] == "5"
    bands = json.loads(artifact(run, "bands.json").read_text())
    assert bands["indices"] == list(range(24))
    assert np.shape(bands["matrix"]) == (5, 24)
    assert tags["hyperspec.bands.hash"] == bands["hash"]
    assert artifact(run, "pictures/responses.png").stat().st_size > 5_000
    assert 0 <= run.data.metrics["control/mean_spectrum_linear_top1"] <= 1
    again = restore(artifact(run, "checkpoints/last.ckpt"))
    assert isinstance(again.trained, BandProjection)
    reduction = again.embedder.reduction
    assert reduction is not None
    np.testing.assert_allclose(reduction.weight, bands["matrix"], rtol=1e-5, atol=1e-7)
    ckpt = artifact(run, "checkpoints/last.ckpt")
    assert main([*words, f"bands={name}", "bands.n=5", "epochs=3", f"ckpt='{ckpt}'"]) == 0


def test_channels_do_not_continue_as_other_channels(
    words: list[str], store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "bands=binned", "bands.n=5"]) == 0
    ckpt = artifact(runs_of(store, tmp_path.name)[0], "checkpoints/last.ckpt")
    assert main([*words, "bands=pca_projection", "bands.n=5", f"ckpt='{ckpt}'"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "no stem can be carried from 5 channels (bands=binned) to 5 (bands=pca_proj" in shown


def test_derivatives_of_components_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    extra = ["bands=pca_projection", "bands.n=5", "data.normalisation=derivative"]
    assert main([*words, *extra]) == 2
    assert "data.normalisation=derivative compares neighbouring" in capsys.readouterr().err


def config(specimens: Path, bands: object, stem: str = "projection", **data: object) -> Train:
    settings = {"size": 8, "cache_dir": str(specimens.parent / "cache"), **data}
    return Train(
        data=FolderData(root=str(specimens), labels=CsvLabels(), **settings),  # type: ignore[arg-type]
        bands=bands,  # type: ignore[arg-type]
        model=TinyConfig(stem=stem),
        loss=NtXentConfig(),
        views=PRESETS["light"],
        hardware=Hardware(accelerator="cpu"),
        tracking=TrackingConfig(),
    )


@pytest.mark.parametrize("stem", ["projection", "inflate", "wavelength", "attention"])
@pytest.mark.parametrize("normalisation", ["zscore", "snv", "minmax"])
def test_views_of_bands_are_projected_in_this_order(
    specimens: Path, stem: str, normalisation: str
) -> None:
    """Noise-free views: spectral part on bands, matrix, normalisation, stem, warp."""
    made = config(specimens, Binned(n=4), stem, normalisation=normalisation)
    made.views.noise_sd = 0.0
    made.model.stem_channels = 3  # fewer than the four, which are projected in front of the warp
    material = gather(made.data, made.bands)
    torch.manual_seed(0)
    module = assemble(made, material, torch.device("cpu"))
    images, masks = module.bank.batch(torch.arange(3))
    params = module.views.draw(3)
    matrix = torch.tensor(material.selection.matrix).float()  # type: ignore[attr-defined]
    lit = module.views.spectral(images, params, masks)
    channels = torch.einsum("nc,bcyx->bnyx", matrix, lit)
    expected = module.views.warp(
        module.encoder.project(module.normalisation(channels, masks) * masks), params
    )
    torch.testing.assert_close(module.view(images, masks, params), expected, rtol=1e-4, atol=1e-4)
    assert module.folds == (stem in ("projection", "wavelength") and normalisation != "snv")


def test_filters_train_with_the_noise_of_their_photons(
    words: list[str], store: str, tmp_path: Path
) -> None:
    assert main([*words, "bands=filters", "bands.n=4", "bands.width_nm=40"]) == 0
    (run,) = runs_of(store, tmp_path.name)
    bands = json.loads(artifact(run, "bands.json").read_text())
    assert len(bands["params"]["filters"]) == len(bands["params"]["white_photons"]) == 4
    again = restore(artifact(run, "checkpoints/last.ckpt"))
    noisy = again.embedder
    assert isinstance(noisy.reduction, PhotonProjection)
    np.testing.assert_allclose(noisy.reduction.white_photons, bands["params"]["white_photons"])
    rows = torch.arange(4)
    features = noisy.embed(rows)
    torch.testing.assert_close(noisy.embed(rows), features, rtol=0, atol=0)
    torch.testing.assert_close(noisy.embed(rows[2:]), features[2:], rtol=1e-5, atol=1e-6)
    quiet = replace(noisy, reduction=noisy.reduction.without_noise)
    assert not torch.allclose(quiet.embed(rows), features, rtol=1e-3)


def test_one_box_per_band_is_full(specimens: Path) -> None:
    """n = C boxes are the bands themselves: the same embeddings from the same weights."""
    every, binned = (config(specimens, bands) for bands in (Uniform(n=24), Binned(n=24)))
    embedded = []
    for made in (every, binned):
        torch.manual_seed(0)
        module = assemble(made, gather(made.data, made.bands), torch.device("cpu"))
        embedded.append(module.embedder.embed(torch.arange(4)))
    torch.testing.assert_close(*embedded, rtol=1e-4, atol=1e-5)


FITTED = {
    **{name: kind(n=4) for name, kind in PROJECTIONS.items()},
    **{kind.name: kind(n=4) for kind in (Vip, Cars, Ipls)},
    "filters": Filters(4, "mrmr", width_nm=30.0),
}


@pytest.mark.parametrize("name", sorted(FITTED))
def test_held_out_cubes_change_no_matrix(specimens: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(specimens, tmp_path / "specimens"))
    made = config(folder, FITTED[name])
    before = gather(made.data, made.bands)
    parts = before.split.parts()
    for row in (*parts["validation"], *parts["test"]):
        path = folder / before.files[row]
        with open_cube(path) as cube:
            raw = cube.read_raw()
        path.write_bytes((raw[::-1] // 2 + 50).astype(raw.dtype).transpose(1, 0, 2).tobytes())
    after = gather(made.data, made.bands)
    assert after.source.hash != before.source.hash, "the change itself was noticed"
    assert after.selection == before.selection
