"""``hyperspec bands`` as it is typed: tables, files, picture, and words that Hydra takes back."""

from __future__ import annotations

import csv
import json
import shlex
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from matplotlib.image import imread

from hyperspec.bands import STRATEGIES, Fisher, Uniform
from hyperspec.cli.commands.bands import build_strategies
from hyperspec.cli.main import main
from hyperspec.config import config_dir, groups, schema
from hyperspec.datasets.catalogue.labels import CsvLabels
from hyperspec.datasets.config import FolderData
from hyperspec.spectra.axis import SpectralAxis, mission_axis
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.training.data import gather


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bands") / "specimens"
    return synthesise(root, SynthSettings(num_specimens=4, size=16, num_bands=40))


def composed(*overrides: str) -> schema.Train:
    groups.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir())):
        return groups.to_train(compose("train", ["data.root=folder", *overrides]))


def test_a_folder(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["bands", str(folder), "--strategy", "uniform,pca,fisher", "--n", "3,6", "data.size=16"]
    words += ["--option", "fisher.pairs=max", "--resamples", "3", "--csv", "b.csv"]
    assert main([*words, "--json", "out/b.json"]) == 0
    printed = capsys.readouterr().out
    found = json.loads(Path("out/b.json").read_text())
    assert [(row["strategy"], row["n"]) for row in found] == [
        (name, n) for name in ("uniform", "pca", "fisher") for n in (3, 6)
    ]
    # The same split and statistics as training: its own gathering gives the same bands.
    data = FolderData(root=str(folder), labels=CsvLabels(), size=16)
    trained = gather(data, Fisher(6, pairs="max"))
    assert found[5]["indices"] == list(trained.selection.indices)
    correlation = trained.statistics.correlation
    assert found[5]["redundancy"] == pytest.approx(trained.selection.redundancy(correlation))
    assert found[5]["params"] == {"n": 6, "pairs": "max"}
    assert found[0]["stability"] == 1.0
    assert all(-0.5 <= row["stability"] <= 1 and row["seconds"] > 0 for row in found)
    with Path("b.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * (3 + 6)
    assert [int(row["index"]) for row in rows[-6:]] == found[5]["indices"]
    for name in ("uniform", "pca", "fisher"):
        assert f"# {name} 6" in printed
    picture = imread("bands.png")[..., :3]
    assert picture.shape[1] == 1200
    assert np.unique(picture.reshape(-1, 3), axis=0).shape[0] > 50  # coloured curves


def test_printed_words_train_on_the_same_bands(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    axis = mission_axis()
    assert main(["bands", "--axis", "mission", "--strategy", "uniform,rgb", "--n", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for title, strategy in (("# uniform 20", Uniform(20)), ("# rgb 3", STRATEGIES["rgb"]())):
        words = shlex.split(lines[[line.strip() for line in lines].index(title) + 1])
        again = composed(*words).bands.select(axis)
        assert again.indices == strategy.select(axis).indices


def test_without_a_folder(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["bands", "--axis", "400:800:41", "--strategy", "all", "--n", "5", "--json", "b.json"]
    assert main([*words, "--out", "pictures/b.png"]) == 0
    found = {row["strategy"]: row for row in json.loads(Path("b.json").read_text())}
    # Every strategy that needs no data, and no other.
    assert set(found) == {
        n for n, kind in STRATEGIES.items() if not kind.needs_statistics and n != "list"
    }
    expected = Uniform(5).select(SpectralAxis.linear(400, 800, 41))
    assert found["uniform"]["indices"] == list(expected.indices)
    assert found["uniform"]["redundancy"] is None
    assert imread("pictures/b.png").shape[1] == 1200


def test_the_command_takes_the_configs_own_defaults() -> None:
    """A name means the same here and as ``bands=NAME``."""
    for name, kind in STRATEGIES.items():
        if name == "list":
            continue
        config = asdict(composed(f"bands={name}").bands)
        n = {"n": config["n"]} if "n" in config else {}
        assert asdict(kind(**n)) == config


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "was given neither FOLDER nor --axis"),
        (["--axis", "400:800"], "--axis is '400:800'; give 'mission'"),
        (
            ["--axis", "mission", "--strategy", "unform"],
            "'unform' (did you mean uniform?)",
        ),
        (["--axis", "mission", "--n", "5,x"], "--n holds 'x'; give whole numbers"),
        (["--axis", "mission", "--n", "5,5"], "--n is '5,5'; give different words"),
        (["--axis", "mission", "--resamples", "1"], "--resamples is 1; give 0 for none"),
        (["--axis", "mission", "--strategy", "pca"], "bands=pca ranks bands by statistics"),
        (["--axis", "mission", "--strategy", "uniform", "--n", "0"], "bands.n is 0"),
        (["--axis", "mission", "--option", "pca"], "--option is 'pca'; give NAME.KEY=VALUE"),
        (
            ["--axis", "mission", "--strategy", "random", "--option", "random.sed=3"],
            "--option sets random.sed; bands=random takes seed",
        ),
        (
            ["--axis", "mission", "--strategy", "random", "--option", "pca.scale=x"],
            "--option sets pca, which is not among --strategy=random",
        ),
    ],
)
def test_mistakes_are_told(words: list[str], message: str, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bands", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_all_leaves_the_classics_out() -> None:
    classic = {"variance", "pca", "entropy", "lcmv_bcc", "mutual_information"}
    spectra = np.random.default_rng(0).uniform(0.2, 0.8, (60, 12))
    axis = SpectralAxis.linear(400, 700, 12)
    seen = SpectralStatistics.from_spectra(spectra, axis, labels=["a", "b"] * 30)
    by_word = {
        word: {one.name for one in build_strategies(word, "3", [], seen)}
        for word in ("all", "classic")
    }
    assert by_word["classic"] == classic
    assert by_word["all"] == set(STRATEGIES) - classic - {"list"}
    unlabelled = SpectralStatistics.from_spectra(spectra, axis)
    found = {one.name for one in build_strategies("classic", "3", [], unlabelled)}
    assert found == classic - {"mutual_information"}


CATALOGUE = "name,centre_nm,width_nm,transmission\n" + "".join(
    f"BP{nm},{nm},30,0.8\n" for nm in range(380, 790, 20)
)


def test_filters_to_order(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.csv").write_text(CATALOGUE)
    words = ["bands", str(folder), "--filters", "shop.csv", "--strategy", "uniform,mrmr"]
    data = ["data.size=16", "data/labels=csv", "--csv", "list.csv", "--json", "list.json"]
    assert main([*words, "--n", "3,4", *data]) == 0
    printed = capsys.readouterr().out
    with Path("list.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["strategy"], row["n"]) for row in rows] == [
        (strategy, str(n)) for strategy in ("uniform", "mrmr") for n in (3, 4) for _ in range(n)
    ]
    for row in rows:
        assert row["name"] == f"BP{float(row['centre_nm']):.0f}"
        assert row["name"] in printed
        assert float(row["white_photons"]) == pytest.approx(200 * 0.8 * 30 * 1.0645, rel=0.11)
    # The words that are printed choose the same filters again.
    again = next(line for line in printed.splitlines() if line.endswith("bands.strategy=mrmr"))
    made = composed(*again.split()).bands
    settings = FolderData(root=str(folder), size=16, labels=CsvLabels())
    chosen = gather(settings, made).selection
    assert chosen.params["filters"] == [r["name"] for r in rows if r["strategy"] == "mrmr"][:3]
    assert chosen.to_dict() == json.loads(Path("list.json").read_text())[2]
    assert imread("bands.png").shape[1] == 1200


def test_filters_without_a_folder_and_what_is_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shop.csv").write_text(CATALOGUE)
    words = ["bands", "--axis", "mission", "--filters", "shop.csv", "--n", "3"]
    assert main(words) == 0  # of the strategies by default, those that need no data
    assert "uniform" in capsys.readouterr().out
    for more, message in (
        (["--strategy", "mrmr"], "--strategy=mrmr needs data, but no FOLDER was given"),
        (["--option", "random.seed=1"], "--filters takes their defaults"),
        (["--n", "x"], "--n is 'x'; give whole numbers"),
        (["--n", "40"], "bands.n is 40, but 21 of 21 filters"),
        (["--filters", "none.csv"], "bands.catalogue='none.csv' cannot be read"),
    ):
        assert main([*words, *more]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
