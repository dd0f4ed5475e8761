"""The same from Python: what a notebook calls is what a shell runs."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import hyperspec
from hyperspec.cli.functions import write_word
from hyperspec.config.compose import compose_words
from hyperspec.config.groups import to_job
from hyperspec.spectra.selection import BandSelection
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.training.data import gather
from hyperspec.utils.errors import CatalogueError, HyperspecError

QUICK = {"data.size": 8, "epochs": 1, "batch_size": 8, "evaluation.controls": False}
QUICK |= {"model": "tiny", "data": "synthetic", "tracking.log_model": "none", "bands.n": 5}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = SynthSettings(num_specimens=4, size=16, num_bands=12)
    return synthesise(tmp_path / "two words", settings)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (50, "k=50"),
        (5e-4, "k=0.0005"),
        (True, "k=true"),
        (None, "k=null"),
        ("uniform", "k=uniform"),
        (Path("a b/c"), 'k="a b/c"'),
        ([0.5, 0.25], "k=[0.5,0.25]"),
        ({"file": "x y"}, 'k={file:"x y"}'),
        ("it's (L.)", 'k="it\'s (L.)"'),
    ],
)
def test_values_are_written_as_hydra_reads_them(value: object, written: str) -> None:
    assert write_word("k", value) == written


def test_a_list_is_what_a_sweep_goes_through() -> None:
    assert write_word("bands.n", [10, 50], swept=True) == "bands.n=10,50"
    assert write_word("c", [["a"], ["b", "c"]], swept=True) == "c=[a],[b,c]"


@pytest.mark.slow
def test_train_load_embed_and_sweep(folder: Path, tmp_path: Path) -> None:
    words = {**QUICK, "data.root": folder}
    run = hyperspec.train(**words)
    assert run.checkpoint.is_file()
    assert 0 <= run.scores["test/knn_top1"] <= 1
    assert f"{run.scores['test/knn_top1']:.3f}" in run._repr_html_()
    encoder = hyperspec.load(run)
    latest = hyperspec.load("latest").checkpoint  # the copy in MLflow
    assert latest.read_bytes() == run.checkpoint.read_bytes()
    table = encoder.embed(folder)
    assert len(table) == 8 * 4 * 2
    cubes = sorted(folder.glob("Synth*.bil"))[:3]
    some = encoder.embed(cubes)
    by_file = dict(zip(table["file"], table["embedding"], strict=True))
    for name, features in zip(some["file"], some["embedding"], strict=True):
        # The same cube by two ways of reading, float32.
        np.testing.assert_allclose(features, by_file[Path(name).name], rtol=1e-3, atol=1e-4)
    assert {"centre_nm", "mode"} <= {*encoder.importance(window_nm=100.0).columns}

    table = hyperspec.sweep(**{**words, "bands.n": [5, 6], "sweep.report": False})
    assert table["bands"].tolist() == [5, 6]
    assert set(table["status"]) == {"FINISHED"}
    # The first is the run from before: the same words are the same job.
    again = hyperspec.sweep(**{**words, "bands.n": [5, 6], "sweep.report": False})
    assert again["taken_over_from"].notna().all()


def test_errors_are_raised_and_nothing_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HyperspecError, match="Did you mean bands=uniform"):
        hyperspec.train(bands="uniforn")
    with pytest.raises(CatalogueError, match=r"data\.root\) is nowhere"):
        hyperspec.train("data.root=nowhere", model="tiny")
    with pytest.raises(HyperspecError):
        hyperspec.load("no such run")
    assert "error:" not in capsys.readouterr().err


def test_what_there_is_is_listed() -> None:
    assert {"train", "sweep", "load", "results", "open", "bands"} <= {*dir(hyperspec)}
    assert {name for name in dir(hyperspec) if not name.startswith("__")} == {*hyperspec.__all__}
    assert [name for name in hyperspec.__all__ if getattr(hyperspec, name).__doc__ is None] == []


def test_type_checkers_see_what_there_is() -> None:
    tree = ast.parse(Path(hyperspec.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and "TYPE" in ast.dump(node)]
    names = {
        alias.asname
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert names == {*hyperspec.__all__}
    assert (Path(hyperspec.__file__).parent / "py.typed").is_file()


def test_a_folder_is_listed_and_bands_are_chosen_on_it(folder: Path) -> None:
    found = hyperspec.catalogue(folder, **{"data.size": 8})
    assert len(found) == len(found.table()) == len(found.files) == 8 * 4 * 2
    assert "12 bands" in repr(found)
    assert found.problems == ()
    assert "label" in found._repr_html_()
    even = found.select(hyperspec.bands.Uniform(3))
    assert even == hyperspec.bands.Uniform(3).select(found.axis)
    assert "statistics" not in vars(found)  # no cube was read for it
    ranked = found.select(hyperspec.bands.Variance(3))
    words = [f"data.root={folder}", "data.size=8", "bands=variance", "bands.n=3"]
    assert ranked == chosen_by_a_run(words)
    with pytest.raises(HyperspecError, match=r"no key data\.sized"):
        hyperspec.catalogue(folder, "data.sized=8")


def chosen_by_a_run(words: list[str]) -> BandSelection:
    quoted = [f'data.root="{w.removeprefix("data.root=")}"' if "root" in w else w for w in words]
    train = to_job(compose_words(quoted))
    return gather(train.data, train.bands).selection
