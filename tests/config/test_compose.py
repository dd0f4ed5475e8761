"""Configs of the user's own are found wherever words are composed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hyperspec.cli.commands.plan import composed
from hyperspec.cli.main import main
from hyperspec.config.compose import config_folders, prepare_arguments
from hyperspec.utils.errors import ConfigError

STUDY = """# @package _global_
defaults: [override /data: mine]
epochs: 3
hydra: {sweeper: {params: {bands.n: "4,5"}}}
"""
DATA = "defaults: [/data/folder@_here_, _self_]\nsize: 48\nroot: from_mine\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the user's with a study and data settings, importable."""
    package = tmp_path / "butterflies"
    for name, text in (("experiment/mine", STUDY), ("data/mine", DATA)):
        path = package / f"conf/{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (package / "__init__.py").touch()
    (package / "conf/__init__.py").touch()
    for name in ("butterflies", "butterflies.conf"):  # of the test before
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return package / "conf"


WAYS = [
    ["--config-dir", "butterflies/conf"],
    ["-cd=butterflies/conf"],
    ["hydra.searchpath=['file://butterflies/conf']"],
    ["hydra.searchpath=[pkg://butterflies.conf]"],
    ["--config-dir=butterflies", "hydra.searchpath=[pkg://butterflies.conf]"],
]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("way", WAYS)
def test_a_study_of_ones_own_is_found(way: list[str], own: Path) -> None:
    words = [*way, "experiment=mine"]
    assert prepare_arguments(words) == [*words, "--multirun"]
    made = composed(words)
    assert (made.epochs, made.data.size, str(made.data.root)) == (3, 48, "from_mine")
    assert own in config_folders(words)


@pytest.mark.parametrize("way", WAYS)
def test_data_settings_of_ones_own_serve_every_command(
    way: list[str], own: Path, small_specimens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "data/mine.yaml").write_text(DATA + "crop_margin: nothing\n")
    assert main(["check", str(small_specimens), *way, "data=mine"]) == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("hydra.searchpath=[pkg://not_there.conf]", "no package not_there.conf"),
        ("hydra.searchpath=file://here", "is no list"),
    ],
)
def test_a_search_path_that_leads_nowhere_is_told(word: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        composed([word])
