"""``hyperspec options``: every key has a meaning, and what is listed is what a run gets."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from hyperspec.cli.commands.options import COMMONEST
from hyperspec.cli.main import main
from hyperspec.config import groups
from hyperspec.config.compose import compose_words
from hyperspec.config.found_device import is_asked
from hyperspec.config.option_list import list_groups, list_options


def told(word: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["options", *([word] if word else [])]) == 0
    return capsys.readouterr().out


def test_every_key_has_a_meaning() -> None:
    groups.register()
    without = [option.key for option in list_options() if not option.meaning]
    assert without == []


def test_every_key_is_listed_with_the_value_that_a_run_has() -> None:
    """The composed default config has the keys of the list, and their defaults."""
    groups.register()
    config = compose_words(["data.root=x"])
    listed = list_options()
    chosen = {"data": "folder", "data/labels": "csv", "bands": "uniform", "loss": "nt_xent"}
    chosen |= {"views": "views"}

    def flat(node: object, place: str = "") -> dict[str, object]:
        if isinstance(node, dict) and place not in ("search.branches.",):
            parts = [flat(value, f"{place}{key}.") for key, value in node.items()]
            return {key: value for part in parts for key, value in part.items()}
        return {place.rstrip("."): node}

    composed = flat(OmegaConf.to_container(config, resolve=False))
    known = {option.key for option in listed}
    assert {key for key in composed if key not in known and "branches" not in key} == set()
    for option in listed:
        group, _, name = option.choice.partition("=")
        if option.key.startswith(("model.", "data.root")) or (group and chosen[group] != name):
            continue
        value = composed.get(option.key, "absent")
        if isinstance(value, bool | None):
            assert option.default == {True: "true", False: "false", None: "null"}[value], option
        elif isinstance(value, int | float):
            assert float(option.default) == value, option
        elif isinstance(value, str):
            told = "as found" if is_asked(value) else value  # what the machine decides
            assert option.default == told, option


def test_groups_have_the_options_that_hydra_has() -> None:
    groups.register()
    found = list_groups()
    for group, names in found.items():
        if not group.startswith("hydra/"):
            for name in names:
                word = f"{group}={name}"
                if group in ("experiment", "search", "data/labels", "loss/global_loss"):
                    continue  # overlays, and groups of groups
                assert compose_words([word, "data.root=x"]) is not None


def test_what_a_word_selects(capsys: pytest.CaptureFixture[str]) -> None:
    fisher = told("bands=fisher", capsys)
    assert "bands.pairs = mean" in fisher
    assert "bands.scheme" not in fisher
    split = told("data.split", capsys)
    assert "data.split.rotate = null    [whole number or null]" in split
    assert "bands." not in split
    assert "loss.temperature = 0.1" in told("temperature", capsys)
    everything = told("", capsys)
    assert all(key in everything for key in COMMONEST)
    assert "experiment=" in everything
