"""What a checkpoint of somebody else carries: checked by the schema, and it decides no place."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hyperspec.config.compose import compose_words
from hyperspec.config.groups import to_train
from hyperspec.config.plain import from_plain, to_plain
from hyperspec.config.schema import Train
from hyperspec.datasets.config import AxisSpec
from hyperspec.inference.restore import _on_folder
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection
from hyperspec.training.builders import read_bands, read_config
from hyperspec.utils.errors import HyperspecError, ModelError

WORDS = ["experiment=demo", "data.root=specimens", "schedule=[{until_epoch: 2, bands: 3}]"]
WORDS += ["epochs=2", "data.axis={start_nm: 400, stop_nm: 700, count: 7}"]
# None of each kind fits all fields; what fits one is checked by its range.
WRONG: list[Any] = [None, "x", -1, 10**12, 1.5, True, [], {}, [None], {"a": 1}, float("nan"), b"x"]


def is_told(read: Callable[[], object]) -> bool:
    """Say whether reading raises an error of ours; another one passes through."""
    try:
        read()
    except HyperspecError as error:
        return bool(str(error))
    return False


@pytest.fixture(scope="module")
def config() -> Train:
    return to_train(compose_words(WORDS))


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(
        tree, list) else ()  # fmt: skip
    for key, inner in pairs:
        yield from places(inner, (*path, key))


def edited(plain: dict[str, Any], path: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(plain)
    node: Any = made
    for key in path[:-1]:
        node = node[key]
    if value is KeyError:
        del node[path[-1]]
    else:
        node[path[-1]] = copy.deepcopy(value)
    return made


def test_every_edit_of_a_config_is_told_or_is_a_config(config: Train) -> None:
    plain = to_plain(config)
    assert from_plain(plain) == config
    all_places = [path for path in places(plain) if path]
    assert len(all_places) > 120
    told = 0
    for number, path in enumerate(all_places):
        # A quarter of the values for each place, so that neighbours share them out.
        for value in (*WRONG[number % 4 :: 4], KeyError):
            if value is KeyError and not isinstance(path[-1], str):
                continue
            carried = {"hyperspec": {"config": edited(plain, path, value)}}
            told += is_told(partial(read_config, carried, "x.ckpt"))
    assert told > 1.5 * len(all_places)


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("epochs",), "many", "holds a Train that cannot be: epochs is 'many', where int belongs"),
        (("batch_size",), True, "batch_size is True, where int belongs"),
        (("model",), {"_class": "FolderData"}, "model is a FolderData, where"),
        (("data", "pattern"), "${oc.env:HOME}", "which would be computed here"),
        (("bands", "_class"), "Popen", "which this version of hyperspec does not have"),
        (("schedule", 0, "bands"), KeyError, "bands is not given"),
        (("plugins",), 3, "plugins is 3"),
    ],
)
def test_what_is_refused_says_why(config: Train, path: Any, value: Any, text: str) -> None:
    carried = {"hyperspec": {"config": edited(to_plain(config), path, value)}}
    with pytest.raises(ModelError) as told:
        read_config(carried, "of/x.ckpt")
    assert text in str(told.value)


@pytest.mark.parametrize("content", ["x", [], 3, {}, {"_class": "SplitSpec"}])
def test_what_is_no_config_of_a_run_is_told(content: Any) -> None:
    with pytest.raises(ModelError, match=r"What 'of/x.ckpt' carries as its config is none"):
        read_config({"hyperspec": {"config": content}}, "of/x.ckpt")


def test_every_edit_of_the_bands_is_told() -> None:
    right = BandSelection((1, 3), SpectralAxis.linear(400, 700, 7), "uniform", {"n": 2})
    plain = right.to_dict()
    assert read_bands({"hyperspec": {"bands": plain}}, "x.ckpt") == right
    for path in (path for path in places(plain) if path):
        for value in (*WRONG, KeyError):
            if value is KeyError and not isinstance(path[-1], str):
                continue
            carried = {"hyperspec": {"bands": edited(plain, path, value)}}
            if not is_told(partial(read_bands, carried, "x.ckpt")):  # edited into what it was
                assert read_bands(carried, "x.ckpt") == right, (path, value)
    for carried in ({}, {"bands": None}, {"bands": "x"}, {"bands": {"matrix": torch.ones(2)}}):
        with pytest.raises(ModelError, match=r"The bands in 'x.ckpt' cannot be read"):
            read_bands({"hyperspec": carried}, "x.ckpt")


def with_data(config: Train, **changed: Any) -> Train:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changed))


def test_a_foreign_cache_is_not_written(
    config: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = {"root": str(tmp_path)}
    for place in (tmp_path / "elsewhere", "../up", ".ssh"):
        found = _on_folder(with_data(config, cache_dir=str(place)), (), folder, "x.ckpt")
        assert found.data.cache_dir == ".hyperspec"
    # A cache that is there already is one's own: its images are not packed once more.
    for name in ("stores", "shards"):
        (tmp_path / "own" / name).mkdir(parents=True)
    own = with_data(config, cache_dir=str(tmp_path / "own"))
    assert _on_folder(own, (), folder, "x.ckpt").data.cache_dir == str(tmp_path / "own")
    told = {**folder, "cache_dir": "here"}
    assert _on_folder(own, (), told, "x.ckpt").data.cache_dir == "here"


def test_ones_own_run_keeps_its_frames_elsewhere(config: Train, tmp_path: Path) -> None:
    """A folder and frames of one's own, by their full paths: evaluated without a further word."""
    own = with_data(config, root=str(tmp_path), white="/archive/frames/white.bil")
    assert _on_folder(own, (), {"root": str(tmp_path)}, "x.ckpt").data.white == own.data.white
    with pytest.raises(ModelError, match=r"data\.white=/archive"):
        _on_folder(own, (), {}, "x.ckpt")  # where the checkpoint alone says the folder


@pytest.mark.parametrize("key", ["white", "dark", "white_reflectance", "labels.file", "axis.file"])
@pytest.mark.parametrize("value", ["/etc/passwd", "../secret.csv"])
def test_a_foreign_path_decides_nothing(
    config: Train, tmp_path: Path, key: str, value: str
) -> None:
    if key == "labels.file":
        changed: dict[str, Any] = {"labels": dataclasses.replace(config.data.labels, file=value)}
    elif key == "axis.file":
        changed = {"axis": AxisSpec(file=value)}
    else:
        changed = {key: value}
    folder = {"root": str(tmp_path)}
    with pytest.raises(ModelError, match=rf"data\.{key}={value}, which is not in .*{tmp_path}"):
        _on_folder(with_data(config, **changed), (), folder, "x.ckpt")
    word = f"data.{key}={value}"
    found = _on_folder(with_data(config, **changed), [word], folder, "x.ckpt")
    assert found.data.root == str(tmp_path)
