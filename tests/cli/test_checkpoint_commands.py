"""Commands that look at a folder with a trained encoder, from training to the files they write."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from root_logger import log_restored

from hyperspec.cli.main import main
from hyperspec.cli.train import main as train
from hyperspec.config import schema
from hyperspec.config.plain import from_plain, to_plain
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.catalogue.labels import CsvLabels
from hyperspec.evaluation.evaluators.knn import knn_probe
from hyperspec.inference import band_curve as curve
from hyperspec.inference.restore import restore
from hyperspec.inference.window_embeddings import embed_windows, parse_windows
from hyperspec.runs.planning.fake_tensors import Watch, no_scratch
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.tracking.client import open_client
from hyperspec.tracking.health import local_folder
from hyperspec.training.checkpoint import read_checkpoint
from hyperspec.training.checkpoint_io import AtomicCheckpointIO
from hyperspec.utils.errors import BandError, ModelError

QUICK = ["experiment=demo", "data.size=16", "epochs=2", "warmup_steps=1", "hardware.threads=1"]
QUICK += ["evaluation.controls=false"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of specimens and three trained encoders: ``plain``, ``wave`` and ``binned``."""
    root = tmp_path_factory.mktemp("ckpt")
    synthesise(root / "specimens", SynthSettings(num_specimens=4, size=16, num_bands=40))
    runs = {
        "plain": ["bands.n=12"],
        "wave": ["bands.n=12", "model.stem=wavelength"],
        "binned": ["bands=binned", "bands.n=12"],
    }
    for name, words in runs.items():
        told = [
            *QUICK, *words, f"data.root={root / 'specimens'}", f"data.cache_dir={root / 'cache'}",
            f"tracking.uri=sqlite:///{root / 'mlflow.db'}", f"hydra.run.dir={root / name}",
        ]  # fmt: skip
        with log_restored():
            assert train(told) == 0
    return root


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_of(work: Path):
    client = open_client(f"sqlite:///{work / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    return client, client.search_runs([experiment.experiment_id])


def named(runs, bands: str, stem: str):
    wanted = {"bands": bands, "model.stem": stem}
    (run,) = [r for r in runs if wanted.items() <= r.data.params.items()]
    return run


def test_channels_of_all_bands_are_restored_too(work: Path, here: Path, capsys) -> None:
    ckpt, folder = str(work / "binned/last.ckpt"), str(work / "specimens")
    assert main(["evaluate", ckpt, folder]) == 0
    found = json.loads((here / "evaluation/evaluation.json").read_text())
    run = named(run_of(work)[1], "binned", "projection")
    assert found["test/label/knn_top1"] == pytest.approx(run.data.metrics["test/knn_top1"])
    words = ["--mode", "mean", "--window", "100"]
    assert main(["importance", ckpt, folder, *words]) == 0
    table = pd.read_csv(here / "importance/importance.csv")
    assert table["num_bands"].max() > 5  # windows of what is read, not of the channels
    assert main(["evaluate", ckpt, folder, "--bands", "full"]) == 2
    assert "whose channels are sums of bands" in " ".join(capsys.readouterr().err.split())


def test_a_checkpoint_scores_as_its_run_did(work: Path, here: Path, capsys) -> None:
    ckpt, folder = work / "plain/last.ckpt", work / "specimens"
    assert main(["evaluate", str(ckpt), str(folder), "--labels-column", "label,pigment"]) == 0
    printed = capsys.readouterr().out
    found = json.loads((here / "evaluation/evaluation.json").read_text())
    _, runs = run_of(work)
    run = named(runs, "uniform", "projection")
    for name in ("knn_top1", "knn_top1_low", "linear_top1", "linear_top1_high"):
        assert found[f"test/label/{name}"] == pytest.approx(run.data.metrics[f"test/{name}"])
    assert found["test/rankme"] == pytest.approx(run.data.metrics["test/rankme"], rel=1e-4)
    assert "not the data that the encoder was trained on" not in printed
    assert "12 bands (bands=uniform), 128 features; images: train 32" in printed
    table = pd.read_csv(here / "evaluation/test_pigment_predictions.csv")
    right = (table["label"] == table["knn"]).mean()
    assert right == pytest.approx(found["test/pigment/knn_top1"])
    assert (here / "evaluation/test_label_pca.png").stat().st_size > 5000


def test_embeddings_are_those_of_the_probes(work: Path, here: Path) -> None:
    ckpt, folder = work / "plain/last.ckpt", work / "specimens"
    assert main(["embed", str(ckpt), str(folder), "--out", "x/e.parquet"]) == 0
    table = pd.read_parquet(here / "x/e.parquet")
    assert list(table.columns[:5]) == ["file", "label", "specimen", "view", "date"]
    assert {"pigment", "uv", "part"} <= set(table.columns)
    assert table["part"].value_counts().to_dict() == {"train": 32, "validation": 16, "test": 16}
    parts = dict(list(table.groupby("part")))
    x = {name: np.stack(rows["embedding"].to_numpy()) for name, rows in parts.items()}
    assert x["train"].shape == (32, 128)
    result = knn_probe(
        x["train"], parts["train"]["label"].tolist(), x["test"], parts["test"]["label"].tolist()
    )
    _, runs = run_of(work)
    run = named(runs, "uniform", "projection")
    assert result.top1 == pytest.approx(run.data.metrics["test/knn_top1"])


def test_the_latest_run_stands_for_its_checkpoint_whose_path_is_printed(
    work: Path, here: Path, capsys
) -> None:
    _, runs = run_of(work)
    newest = max(runs, key=lambda run: run.info.start_time)
    store, folder = f"sqlite:///{work / 'mlflow.db'}", str(work / "specimens")
    assert main(["embed", "latest", folder, "--uri", store, "--out", "latest.parquet"]) == 0
    kept = local_folder(newest.info.artifact_uri) / "checkpoints/last.ckpt"
    printed = capsys.readouterr().out
    assert f"latest: run {newest.info.run_name}\ncheckpoint: {kept}\n" in printed
    assert main(["embed", str(work / "binned"), folder, "--out", "binned.parquet"]) == 0
    assert f"checkpoint: {work / 'binned/last.ckpt'}\n" in capsys.readouterr().out
    pd.testing.assert_frame_equal(
        pd.read_parquet(here / "latest.parquet"), pd.read_parquet(here / "binned.parquet")
    )


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["evaluate", "latest", "FOLDER"], {"pytorch_lightning", "torch._dynamo"}),
        (["embed", "latest", "FOLDER"], {"pytorch_lightning", "torch._dynamo", "matplotlib"}),
        (["importance", "latest", "FOLDER"], {"pytorch_lightning", "torch._dynamo"}),
        (["report", "latest"], {"torch", "optuna", "sklearn"}),
        (["results", "latest"], {"torch", "optuna", "sklearn", "matplotlib"}),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_what_only_reads_imports_no_more_than_it_needs(
    words: list[str], absent: set[str], work: Path, here: Path
) -> None:
    """Lightning, MLflow and what they bring are most of the seconds of a command that reads."""
    told = [str(work / "specimens") if word == "FOLDER" else word for word in words]
    code = (
        "import sys; from hyperspec.cli.main import main\n"
        f"status = main({[*told, '--uri', f'sqlite:///{work}/mlflow.db']!r})\n"
        f"print(sorted({absent | {'mlflow', 'sqlalchemy', 'alembic'}!r} & set(sys.modules)))\n"
        "sys.exit(status)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-1] == "[]"


def test_the_explorer_holds_what_the_encoder_sees(work: Path, here: Path, capsys) -> None:
    ckpt = str(work / "plain/last.ckpt")
    words = ["explore", ckpt, "--picture", "pca", "--mark", "365:381", "--out", "x/e.html"]
    assert main(words) == 0  # without a folder that of the training
    assert "wrote x/e.html: 64 images, " in capsys.readouterr().out
    page = (here / "x/e.html").read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    data = json.loads(found[1])
    assert main(["embed", ckpt, str(work / "specimens"), "--images", "--out", "e.parquet"]) == 0
    table = pd.read_parquet(here / "e.parquet")
    assert all(picture.startswith(b"\x89PNG") for picture in table["picture"])
    assert data["files"] == table["file"].tolist()
    assert [data["parts"][part] for part in data["part"]] == table["part"].tolist()
    columns = {one["name"]: one for one in data["columns"]}
    assert {"label", "pigment", "view", "k-means cluster"} <= set(columns)
    labels = [columns["label"]["values"][code] for code in columns["label"]["codes"]]
    assert labels == table["label"].tolist()
    features = np.stack(table["embedding"].to_numpy()).astype(float)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = np.round(unit @ unit.T, 3)
    owner = table["specimen"].to_numpy()
    cosine[owner[:, None] == owner[None]] = -2
    nearest = np.array(data["neighbours"])
    np.testing.assert_allclose(
        np.take_along_axis(cosine, nearest, 1), -np.sort(-cosine, 1)[:, :8], atol=2e-3
    )
    train, test = (np.flatnonzero(table["part"] == part) for part in ("train", "test"))
    names = np.array(labels)
    right = knn_probe(features[train], names[train], features[test], names[test], k=5)
    said = np.array(data["named"]["probes"]["k-NN"])
    assert (said[train] == -1).all()
    assert (np.array(data["named"]["values"])[said[test]] == right.predictions).mean() > 0.9
    assert len(data["chosen"]) == 12
    assert data["windows"] == [{"start": 365.0, "stop": 381.0, "text": "365 to 381 nm (--mark)"}]
    assert len(data["pictures"]["bands"]) == 24
    assert main(["explore", ckpt, "--labels-column", "wingspan"]) == 2
    assert "--labels-column names 'wingspan'" in capsys.readouterr().err


def test_the_explorer_needs_no_labels(work: Path, here: Path, capsys) -> None:
    words = ["explore", str(work / "plain/last.ckpt"), str(work / "specimens"), "--most", "10"]
    assert main([*words, "--picture", "pca", "data/labels=none"]) == 0
    assert "wrote explorer.html: 10 images, " in capsys.readouterr().out
    page = (here / "explorer.html").read_text()
    assert '"probes":{}' in page
    assert "54 of 64 images are left out (--most 10)." in page
    assert "they are split otherwise" in page


def test_what_is_held_out_is_a_part_of_its_own(work: Path, here: Path, capsys) -> None:
    ckpt, folder = str(work / "plain/last.ckpt"), str(work / "specimens")
    names = "Synthopteryx octava,Synthopteryx prima"
    assert main(["evaluate", ckpt, folder, "--hold-out", names, "--k", "3"]) == 0
    printed = capsys.readouterr().out
    assert "train 24, validation 12, test 12, held_out 16" in printed
    assert "The encoder was trained on specimens of them" in printed
    found = json.loads((here / "evaluation/evaluation.json").read_text())
    assert 0 <= found["held_out/label/knn_other_specimens"] <= 1
    assert "held_out/label/linear_top1" not in found
    said = pd.read_csv(here / "evaluation/held_out_label_predictions.csv")
    assert set(said["label"]) == set(names.split(",")) >= set(said["knn"])
    kept = pd.read_csv(here / "evaluation/test_label_predictions.csv")
    assert not set(kept["label"]) & set(names.split(","))
    assert main(["evaluate", ckpt, folder, "--hold-out", "Papilio"]) == 2
    assert "--hold-out names 'Papilio', which is neither a label nor" in capsys.readouterr().err
    assert main(["evaluate", ckpt, folder, "--hold-out", "Synthopteryx"]) == 2
    assert "leaves nothing to fit probes on" in capsys.readouterr().err


def shifted(source: Path, target: Path, axis: SpectralAxis) -> Path:
    """Write the same specimens on another axis."""
    target.mkdir()
    shutil.copy(source / "labels.csv", target)
    for path in sorted(source.glob("*.bil")):
        with open_cube(path) as cube:
            raw, old = cube.read_raw(), cube.axis
        nearest = [int(np.abs(old.wavelengths_nm - nm).argmin()) for nm in axis.wavelengths_nm]
        write_envi(target / path.name, raw[nearest], axis, scale_factor=10000)
    return target


def test_another_axis_is_met_by_nm(work: Path, here: Path) -> None:
    source = work / "specimens"
    with open_cube(sorted(source.glob("*.bil"))[0]) as cube:
        axis = cube.axis
    # The same bands and one more at each end, so that every index moves by one.
    step = float(np.diff(axis.wavelengths_nm)[0])
    low, high = axis.range_nm
    wider = SpectralAxis.linear(low - step, high + step, len(axis) + 2)
    folder = shifted(source, here / "wider", wider)
    there = restore(work / "plain/last.ckpt", root=str(folder), cache_dir=str(here / "cache"))
    same = restore(work / "plain/last.ckpt", root=str(source))
    assert not there.same_data
    assert same.same_data
    assert there.material.selection.indices == tuple(i + 1 for i in same.trained.indices)
    rows = torch.arange(8)
    torch.testing.assert_close(
        there.embedder.embed(rows), same.embedder.embed(rows), rtol=0.05, atol=0.05
    )
    narrow = SpectralAxis.linear(low, (low + high) / 2, 20)
    folder = shifted(source, here / "narrow", narrow)
    with pytest.raises(BandError, match=r"chosen bands .* do not fit the axis at hand"):
        restore(work / "plain/last.ckpt", root=str(folder), cache_dir=str(here / "cache"))


def test_importance_writes_files_and_adds_them_to_the_run(work: Path, here: Path, capsys) -> None:
    client, runs = run_of(work)
    run = named(runs, "uniform", "projection")
    words = ["importance", str(work / "plain/last.ckpt"), str(work / "specimens"), "--window", "60"]
    words += ["--mode", "mean,interpolation", "--mark", "365:381,695:705"]
    words += ["--run", run.info.run_id, "--uri", f"sqlite:///{work / 'mlflow.db'}"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(here / "importance/importance.csv")
    assert set(table["mode"]) == {"mean", "interpolation"}
    assert (
        (table["change_low"] <= table["change"]) & (table["change"] <= table["change_high"])
    ).all()
    assert {"drop", "drop_low", "drop_high"} <= set(table.columns)
    assert (table["stop_nm"] - table["start_nm"]).round(6).eq(60).all()
    assert printed.count("above the median elsewhere by") == 4
    listed = {item.path for item in client.list_artifacts(run.info.run_id, "importance")}
    assert listed == {"importance/importance.csv", "importance/importance.png"}


def test_importance_over_several_checkpoints(work: Path, here: Path) -> None:
    ckpts = [str(work / name / "last.ckpt") for name in ("plain", "wave")]
    words = [str(work / "specimens"), "--mode", "mean", "--window", "100"]
    changes = []
    for number, chosen in enumerate([ckpts[:1], ckpts[1:], ckpts]):
        assert main(["importance", *chosen, *words, "--out", str(number)]) == 0
        changes.append(pd.read_csv(here / str(number) / "importance.csv")["change"].to_numpy())
    np.testing.assert_allclose(changes[2], (changes[0] + changes[1]) / 2, rtol=1e-4, atol=1e-6)


def test_matrix_over_band_sets(work: Path, here: Path, capsys) -> None:
    words = [str(work / "specimens"), "--bands", "uniform:20,uniform:12,rgb"]
    assert main(["evaluate", str(work / "wave/last.ckpt"), *words]) == 0
    table = pd.read_csv(here / "evaluation/cross_spectral.csv")
    assert table["encoder"].tolist() == ["uniform:12"] * 3
    assert table["bands"].tolist() == ["uniform:20", "uniform:12", "rgb"]
    _, runs = run_of(work)
    run = named(runs, "uniform", "wavelength")
    assert table["value"][1] == pytest.approx(run.data.metrics["test/knn_top1"], abs=1e-5)
    assert main(["evaluate", str(work / "plain/last.ckpt"), *words]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "model.stem=projection, whose weights belong to its own 12 bands" in message


def test_words_change_the_settings_of_the_run(work: Path, here: Path, capsys) -> None:
    ckpt, folder = work / "plain/last.ckpt", str(work / "specimens")
    told = ["data.labels.column=pigment", "data.split.seed=1", "data.pattern='*1D*.bil'"]
    restored = restore(ckpt, told, root=folder)
    trained = restore(ckpt, root=folder).config.data
    labels = dataclasses.replace(trained.labels, column="pigment")
    split = dataclasses.replace(trained.split, seed=1)
    assert restored.config.data == dataclasses.replace(
        trained, labels=labels, split=split, pattern="*1D*.bil"
    )
    assert main(["embed", str(ckpt), folder, "data/labels=none"]) == 0
    assert pd.read_parquet("embeddings.parquet")["label"].isna().all()
    assert main(["embed", str(ckpt), folder, "--labels", "none", "--out", "old.parquet"]) == 0
    assert "--labels: goes with the next release; write data/labels=none" in capsys.readouterr().err
    for word, text in (
        ("data.sise=9", "There is no key data.sise in this config. Did you mean data.size?"),
        ("data=tiles", "a checkpoint brings its own data settings"),
    ):
        assert main(["embed", str(ckpt), folder, word]) == 2
        assert text in " ".join(capsys.readouterr().err.split())


def test_signatures_and_prototypes(work: Path, here: Path, capsys) -> None:
    words = ["signatures", str(work / "specimens"), "data.size=16"]
    words += [f"data.cache_dir={work / 'cache'}", "--labels-column", "pigment"]
    assert main([*words, "--ckpt", str(work / "plain/last.ckpt"), "--out", "s"]) == 0
    table = pd.read_csv(here / "s/signatures.csv")
    assert table.groupby("label")["num_specimens"].first().tolist() == [16, 16]
    assert len(table) == 2 * 40
    prototypes = pd.read_csv(here / "s/prototypes.csv").set_index("label")
    assert prototypes["num_specimens"].tolist() == [4, 4]  # the test part
    assert prototypes["nearest"].tolist() == prototypes.index[::-1].tolist()
    embeddings = pd.read_parquet(here / "s/prototypes.parquet")["embedding"]
    assert [np.linalg.norm(e) for e in embeddings] == pytest.approx([1, 1])
    assert main([*words[:-1], "colour"]) == 2
    assert "--labels-column names 'colour'" in capsys.readouterr().err


def test_config_travels_as_plain_values(work: Path) -> None:
    facts = read_checkpoint(work / "plain/last.ckpt")["hyperspec"]
    config = from_plain(facts["config"])
    assert isinstance(config, schema.Train)
    assert isinstance(config.data.labels, CsvLabels)
    assert (config.bands.n, config.model.name, config.loss.temperature) == (12, "tiny", 0.2)
    assert to_plain(config) == facts["config"]


def test_what_this_version_does_not_know_is_refused(work: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="config holds Popen: Popen, which this version"):
        from_plain({"_class": "Popen", "args": ["true"]})
    with pytest.raises(ModelError, match="config holds SplitSpec: shuffle, which this version"):
        from_plain({"_class": "SplitSpec", "seed": 0, "shuffle": True})
    checkpoint = read_checkpoint(work / "plain/last.ckpt")
    del checkpoint["hyperspec"]["config"]
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "old.ckpt")
    with pytest.raises(ModelError, match="carries no config, so its encoder cannot be rebuilt"):
        restore(tmp_path / "old.ckpt", root=str(work / "specimens"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "CKPT", "CKPT", "FOLDER"], "was given 2 checkpoints"),
        (
            ["evaluate", "CKPT", "FOLDER", "--labels-column", "colour"],
            "--labels-column names 'colour'",
        ),
        (
            ["evaluate", "CKPT", "FOLDER", "--bands", "uniform"],
            "--bands holds 'uniform'; give NAME:N",
        ),
        (
            ["evaluate", "CKPT", "FOLDER", "--bands", "unform:3"],
            "(did you mean uniform?)",
        ),
        (
            ["importance", "CKPT", "FOLDER", "--mode", "median"],
            "--mode holds 'median'; choose from",
        ),
        (["importance", "CKPT", "FOLDER", "--mark", "7:5"], "--mark holds '7:5'; give START:STOP"),
        (["importance", "CKPT", "FOLDER", "--window", "0"], "importance.window_nm is 0"),
        (["embed", "nowhere.ckpt", "FOLDER"], "'nowhere.ckpt' does not exist. Give a checkpoint"),
    ],
)
def test_mistakes_are_told(words: list[str], message: str, work: Path, here: Path, capsys) -> None:
    known = {"CKPT": str(work / "plain/last.ckpt"), "FOLDER": str(work / "specimens")}
    assert main([known.get(word, word) for word in words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_window_of_all_bands_is_the_undivided_embedding(work: Path, here: Path, capsys) -> None:
    ckpt, folder = str(work / "wave/last.ckpt"), str(work / "specimens")
    assert main(["embed", ckpt, folder, "--out", "whole.parquet"]) == 0
    assert main(["embed", ckpt, folder, "--out", "one.parquet", "--windows-nm", "300-900"]) == 0
    whole = pd.read_parquet("whole.parquet")
    one = pd.read_parquet("one.parquet")
    x = np.stack(whole["embedding"].to_numpy())
    for name in ("embedding", "embedding_300-900_nm"):
        np.testing.assert_allclose(np.stack(one[name].to_numpy()), x, rtol=1e-4, atol=1e-5)
    report = pd.read_csv("one.windows.csv").set_index("embedding")
    assert report.loc["300-900_nm", "bands"] == 12
    assert report.loc["300-900_nm", "median_cosine"] == pytest.approx(1)
    assert report.loc["pooled (mean)", "shared_neighbours"] == pytest.approx(1)
    _, runs = run_of(work)
    accuracy = named(runs, "uniform", "wavelength").data.metrics["test/knn_top1"]
    assert report.loc["undivided", "test_knn_top1"] == pytest.approx(accuracy)
    assert "shared 5 neighbours" in capsys.readouterr().out


def test_windows_are_labelled_and_pooled(work: Path, here: Path) -> None:
    ckpt, folder = str(work / "wave/last.ckpt"), str(work / "specimens")
    words = ["embed", ckpt, folder, "--windows-nm", "340-450,600-820"]
    assert main([*words, "--windows-pool", "concat"]) == 0
    table = pd.read_parquet("embeddings.parquet")
    parts = [np.stack(table[f"embedding_{ends}_nm"].to_numpy()) for ends in ("340-450", "600-820")]
    joined = np.stack(table["embedding"].to_numpy())
    np.testing.assert_array_equal(joined, np.concatenate(parts, axis=1))
    assert not np.allclose(*parts, rtol=0.1)
    report = pd.read_csv("embeddings.windows.csv").set_index("embedding")
    assert np.isnan(report.loc["pooled (concat)", "median_cosine"])
    assert report.loc["340-450_nm", "median_cosine"] < 0.9999
    # A window's bands alone: what an encoder that is given these bands says.
    assert main([*words, "--no-compare", "--out", "mean/e.parquet"]) == 0
    mean = np.stack(pd.read_parquet("mean/e.parquet")["embedding"].to_numpy())
    np.testing.assert_allclose(mean, (parts[0] + parts[1]) / 2, rtol=1e-5, atol=1e-6)
    assert not (here / "mean/e.windows.csv").exists()
    restored = restore(ckpt, root=folder)
    bands = inside(restored, 600, 820)
    there = curve.on_bands(restored.embedder, "zscore", restored.material, bands)
    alone = there.embed(torch.arange(len(table))).numpy()
    np.testing.assert_allclose(parts[1], alone, rtol=1e-4, atol=1e-5)


def inside(restored, low: float, high: float):
    bands = restored.material.selection
    kept = [
        i for i, nm in zip(bands.indices, bands.wavelengths_nm, strict=True) if low <= nm < high
    ]
    return dataclasses.replace(bands, indices=tuple(kept))


def test_memory_is_that_of_one_window(work: Path, here: Path) -> None:
    """Live bytes of tensors at the worst moment, whatever the number of windows."""
    restored = restore(work / "wave/last.ckpt", root=str(work / "specimens"), residency="mmap")
    assert (
        restored.embedder.bank.resident_bytes == len(restored.embedder.bank) * 16**2
    )  # masks alone
    nm = restored.material.selection.wavelengths_nm

    def peak(text: str) -> int:
        with Watch(no_scratch) as watch:
            embed_windows(restored, parse_windows(text, nm))
        return watch.peak

    three = [f"{nm[i]:.1f}-{nm[i + 3] - 0.1:.1f}" for i in (1, 4, 7)]
    one, several = peak(three[0]), peak(",".join(three))
    assert several < 1.2 * one
    # All twelve bands need four times the pixels of three, beside what follows the projection.
    assert peak("300-900") > several + 0.5 * 64 * 9 * 16 * 16 * 4


@pytest.mark.parametrize(
    ("run", "words", "message"),
    [
        ("plain", ["--windows-nm", "100"], "trained with model.stem=projection: a part of its 12"),
        ("binned", ["--windows-nm", "100"], "bands=binned, whose channels are sums of bands"),
        (
            "wave",
            ["--windows-nm", "450-350"],
            "holds '450-350'; give LOW-HIGH in nm with LOW below",
        ),
        ("wave", ["--windows-nm", "100-200"], "100-200 nm holds none of the encoder's 12 bands"),
        ("wave", ["--windows-nm", "300-500,300-500"], "names a window twice"),
        ("wave", ["--windows-nm", "-5"], "holds '-5'; give LOW-HIGH"),
        ("wave", ["--windows-pool", "mean"], "--windows-pool is about windows of bands"),
    ],
)
def test_wrong_windows_are_refused(
    work: Path, here: Path, capsys, run: str, words: list[str], message: str
) -> None:
    words = [f"{words[0]}={words[1]}"]
    status = main(["embed", str(work / run / "last.ckpt"), str(work / "specimens"), *words])
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_windows_of_a_width_hold_every_band_once() -> None:
    nm = np.array([348.4, 400.0, 448.4, 500.123, 809.6])
    windows = parse_windows("50", nm)
    held = [window.places(nm) for window in windows]
    assert min(len(places) for places in held) > 0
    assert sorted(np.concatenate(held).tolist()) == [0, 1, 2, 3, 4]
    assert windows[0].label == "348.4-398.4_nm"
    assert len(parse_windows("1000", nm)) == 1
