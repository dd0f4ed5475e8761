"""The same folder with something else in it, and the same command twice at a time."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.config import config_dir, groups, schema
from hyperspec.config.compose import compose_words
from hyperspec.config.hardware import Hardware
from hyperspec.config.sweep import SweepConfig
from hyperspec.datasets.config import Data
from hyperspec.evaluation.config import Evaluation
from hyperspec.sweeps import folder as again
from hyperspec.tracking.client import connect
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import ASIDE
from hyperspec.utils.process import host_name, process_tag

_NUMBERS = itertools.count()


@dataclasses.dataclass
class Here:
    root: str = dataclasses.field(default="here", metadata=ASIDE)
    size: int = 16


@dataclasses.dataclass
class Asked:
    lr: float
    data: Here = dataclasses.field(default_factory=Here)
    scored: list[str] = dataclasses.field(
        default_factory=lambda: ["knn"], metadata={"identity": "unless default"}
    )
    sweep: dict[str, str] = dataclasses.field(default_factory=dict, metadata=ASIDE)


def config(folder: Path, lr: float = 1e-3, **sweep: str) -> DictConfig:
    hydra = {
        "sweep": {"dir": str(folder)},
        "overrides": {"hydra": [f"hydra.sweep.dir={folder}", "hydra.mode=MULTIRUN"]},
    }
    OmegaConf.set_readonly(made := OmegaConf.create({"hydra": hydra}).hydra, True)
    typed: DictConfig = OmegaConf.structured(Asked(lr, sweep=dict(sweep)))
    with open_dict(typed):
        typed.hydra = made
    return typed


def test_the_same_request_takes_its_folder_again(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    space = {"bands.n": "10,20"}
    assert again.settle_folder(config(folder), folder, space) == folder
    moved = config(folder, live="off")
    moved.data.root = "elsewhere"
    assert again.settle_folder(moved, folder, space) == folder


def test_another_request_is_refused_with_its_differences(tmp_path: Path) -> None:
    again.settle_folder(config(tmp_path), tmp_path, {"bands.n": "10,20"})
    with pytest.raises(ConfigError) as refused:
        again.settle_folder(config(tmp_path, lr=2e-3), tmp_path, {"bands.n": "10,50", "seed": "1"})
    text = str(refused.value)
    assert f"hydra.sweep.dir={tmp_path} holds a sweep that was begun with something else" in text
    assert "bands.n was 10,20 and is 10,50; lr was 0.001 and is 0.002" in text
    assert "seed was not set and is 1" in text
    assert "sweep.changed=fork" in text


def test_a_key_that_came_later_counts_when_it_is_set(tmp_path: Path) -> None:
    """The note of a folder that an earlier version began has no such key."""
    again.settle_folder(config(tmp_path), tmp_path, {})
    note = json.loads((tmp_path / again.ASKED).read_text())
    assert "scored" not in note
    other = config(tmp_path)
    other.scored = ["linear"]
    with pytest.raises(ConfigError, match="scored was not set and is"):
        again.settle_folder(other, tmp_path, {})


def test_a_fork_takes_a_neighbour_and_finds_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    requests = [{"bands.n": "10"}, {"bands.n": "20"}, {"bands.n": "30"}, {"bands.n": "20"}]
    found = []
    for space in requests:
        made = config(folder, changed="fork")
        found.append(again.settle_folder(made, folder, space).name)
        assert Path(made.hydra.sweep.dir).name == found[-1]
    assert found == ["sweep", "sweep-2", "sweep-3", "sweep-2"]
    assert list(made.hydra.overrides.hydra) == [
        "hydra.mode=MULTIRUN",
        f'hydra.sweep.dir="{folder}-2"',
    ]


def test_a_damaged_note_is_named(tmp_path: Path) -> None:
    (tmp_path / "asked.json").write_text("[1, 2")
    with pytest.raises(ConfigError, match=r"asked\.json does not say what the sweep"):
        again.settle_folder(config(tmp_path), tmp_path, {})


def test_what_may_change_is_what_the_schema_leaves_out_of_the_identity() -> None:
    def left_out(cls: type, place: str = "") -> set[str]:
        return {
            f"{place}{field.name}"
            for field in dataclasses.fields(cls)
            if not field.metadata.get("identity", True)
        }

    groups = left_out(Data, "data.") | left_out(Hardware, "hardware.")
    groups |= left_out(Evaluation, "evaluation.")
    assert set(again.free_keys(schema.Train)) == left_out(schema.Train) | groups


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("when_busy", "sweep.when_busy is 'x'; choose wait, join or refuse."),
        ("changed", "sweep.changed is 'x'; choose refuse or fork."),
    ],
)
def test_options_are_checked(key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        SweepConfig(**{key: "x"})


def test_the_same_command_that_runs_now(sweep_uri: str, tmp_path: Path) -> None:
    connection = connect(sweep_uri, f"busy-{next(_NUMBERS)}")
    tags = {"hyperspec.command": "hyperspec train -m lr=1,2"}
    command = tags["hyperspec.command"]
    first = start_run(connection, "first", kind="sweep", tags=tags)
    waits = again.check_busy(config(tmp_path, when_busy="wait"), connection, command)
    assert waits is not None
    assert "the same command runs as 'first': each of its jobs is waited for" in waits
    joins = again.check_busy(config(tmp_path, when_busy="join"), connection, command)
    assert joins is not None
    assert "joins 'first'" in joins
    with pytest.raises(ConfigError) as refused:
        again.check_busy(config(tmp_path, when_busy="refuse"), connection, command)
    assert f"The same command runs as 'first' on {host_name()}" in str(refused.value)
    refusing = config(tmp_path, when_busy="refuse")
    assert again.check_busy(refusing, connection, "another command") is None
    first.finish()
    assert again.check_busy(refusing, connection, command) is None
    boot, namespace, _, _ = process_tag().split("/")
    gone = {**tags, "hyperspec.process": f"{boot}/{namespace}/{2**22 + 1}/1"}
    dead = start_run(connection, "dead", kind="sweep", tags=gone)
    assert again.check_busy(refusing, connection, command) is None
    dead.finish()


def test_a_changed_sweep_is_refused_before_it_starts(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*study.words, "-m", "hydra.sweep.dir=mine"]
    assert main([*words, "bands.n=5"]) == 0
    assert main([*words, "bands.n=6"]) == 2
    assert "bands.n was 5 and is 6" in capsys.readouterr().err
    assert len(study.runs()) == 2
    assert main([*words, "bands.n=6", "sweep.changed=fork"]) == 0
    assert (study.folder / "mine-2/0/.hydra/config.yaml").exists()
    assert len(study.jobs()) == 2


@pytest.mark.slow
def test_the_note_of_a_real_sweep_has_no_key_that_is_free(study: Study) -> None:
    words = ["evaluation.linear=false", "evaluation.controls=false", "lr=0.1", "bands.n=4,5"]
    assert main([*study.words, "-m", "hydra.sweep.dir=out", *words]) == 0
    kept = json.loads((study.folder / "out" / again.ASKED).read_text())
    assert (kept["bands.n"], kept["lr"], kept["data.size"]) == ("4,5", "0.1", "16")
    free = tuple(f"{key}." for key in again.free_keys(schema.Train))
    assert [key for key in kept if f"{key}.".startswith(free)] == []


def test_a_sweep_of_an_earlier_version_knows_its_defaults() -> None:
    now = compose_words(["data.root=x", "data.cache_dir=y"])
    found = again.asked(now, {})
    assert found["data.pattern"] == "*.bil"  # what `auto` was
    assert "data.labels.placeholders" not in found
    assert "data.split.group" not in found
    words = ["data.root=x", "data.pattern='*.raw'", "data.labels.placeholders=[x]"]
    found = again.asked(compose_words(words), {})
    assert found["data.pattern"] == "*.raw"
    assert found["data.labels.placeholders"] == "[x]"


@pytest.mark.parametrize("words", [[], ["data=tiles"], ["data=lepidoptera"]])
def test_keys_that_came_later_are_not_asked_for_in_any_option(words: list[str]) -> None:
    """Fields of an option count like those of its class in the schema: `data.labels` of tiles."""
    groups.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir())):
        config = compose("train", ["data.root=x", *words])
    made = groups.to_train(config)
    later = {
        f"{group.name}.{one.name}"
        for group in dataclasses.fields(made)
        if dataclasses.is_dataclass(getattr(made, group.name))
        for one in dataclasses.fields(getattr(made, group.name))
        if one.metadata.get("identity") == "unless default"
    }
    assert "data.labels" in later or "data=tiles" not in words
    assert "evaluation.random_split" in later
    assert not later & set(again.asked(config, {}))
