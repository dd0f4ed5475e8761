"""A sweep's jobs are composed of the files that were checked; its command starts it again."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.config import config_dir, groups
from hyperspec.runs import job
from hyperspec.sweeps import validation
from hyperspec.sweeps.kept_config import KeptRepository, keep_config
from hyperspec.tracking.health import local_folder

MINE = """# @package _global_
defaults: [override /bands: mine]
lr: {lr}
hydra: {{sweeper: {{params: {{seed: "0,1"}}}}}}
"""
BANDS = "defaults: [/schema/bands/uniform@_here_, _self_]\nn: 5\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A user's folder of configs, with a study and a set of bands."""
    for name, text in (("experiment/mine", MINE.format(lr=0.001)), ("bands/mine", BANDS)):
        path = tmp_path / f"my conf/{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path / "my conf"


def test_an_edited_file_changes_no_job_of_a_sweep_that_runs(
    study: Study, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with ``hydra.job.chdir`` all means what it means without."""
    run_job = job.run_job

    def edited(config: Any) -> Any:
        (mine / "experiment/mine.yaml").write_text(MINE.format(lr=0.9))
        (mine / "bands/mine.yaml").unlink(missing_ok=True)
        return run_job(config)

    monkeypatch.setattr(job, "run_job", edited)
    folder = next(Path(w[10:]) for w in study.words if w.startswith("data.root="))
    (study.folder / "here").symlink_to(folder)
    words = [word for word in study.words if not word.startswith(("data.root=", "experiment="))]
    words += ["data.root=here", "model=tiny", "hydra.job.chdir=true"]
    told = ["--config-dir", str(mine), "experiment=mine", "hydra.sweep.dir=out"]
    told += ["hydra.sweep.subdir=job_${hydra.job.num}_${seed}", "study=of_${bands.n}"]
    assert main([*words, *told]) == 0
    first, second = study.jobs()
    assert [run.data.params["lr"] for run in (first, second)] == ["0.001", "0.001"]
    (parent,) = [run for run in study.runs() if run.data.tags["hyperspec.kind"] == "sweep"]
    assert {r.data.tags["mlflow.parentRunId"] for r in (first, second)} == {parent.info.run_id}
    assert not list(study.folder.rglob("*.db"))
    assert {path.name for path in (study.folder / "out").glob("job_*")} == {"job_0_0", "job_1_1"}

    monkeypatch.setattr(job, "run_job", run_job)
    kept = study.folder / "out/config"
    assert (kept / "experiment/mine.yaml").read_text() == MINE.format(lr=0.001)
    command = shlex.split(parent.data.tags["hyperspec.command"])
    assert command[:5] == ["hyperspec", "train", "-m", "--config-dir", str(mine)]
    assert {"hydra.sweep.subdir=job_${hydra.job.num}_${seed}", "study=of_${bands.n}"} <= {*command}
    command[4] = str(kept)
    assert main(command[2:]) == 0
    assert len(study.jobs()) == 2 + 2  # taken over: runs that name the first ones
    taken = [str(run.data.tags.get("hyperspec.resumed_from")) for run in study.jobs()[2:]]
    assert sorted(taken) == sorted(run.info.run_id for run in (first, second))


def test_what_was_read_travels_to_other_processes(mine: Path) -> None:
    groups.register()
    GlobalHydra.instance().clear()
    words = ["data.root=here", f"hydra.searchpath=['file://{mine}']", "bands=mine"]
    with initialize_config_dir(str(config_dir())):
        kept = keep_config()
        loader: Any = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("train", words, run_mode=RunMode.MULTIRUN)
        assert keep_config() is kept  # a second sweep in one process
        there = cloudpickle.loads(cloudpickle.dumps(loader))
    (mine / "bands/mine.yaml").write_text(BANDS.replace("n: 5", "n: 7"))
    for composer in (loader, there):
        assert composer.load_sweep_config(config, ["bands=mine", "lr=0.2"]).bands.n == 5
        assert composer.load_sweep_config(config, ["bands=mine"]).lr != 0.2  # nothing is shared
    assert kept.users_files() == {"bands/mine.yaml": mine / "bands/mine.yaml"}


def composed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the words of each job that Hydra composes from now on."""
    words: list[list[str]] = []
    load = ConfigLoaderImpl.load_sweep_config

    def counted(self: Any, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        words.append(sweep_overrides)
        return load(self, master_config, sweep_overrides)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    return words


def test_jobs_that_were_checked_are_composed_once_and_share_what_they_share(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = composed(monkeypatch)
    assert main([*study.words, "-m", "bands.n=5,6", "seed=0,1"]) == 0
    assert len(words) == 1 + 4  # one for all that is checked, one for each job
    pictures: dict[str, set[bytes]] = {"5": set(), "6": set()}
    for run in study.jobs():
        picture = local_folder(run.info.artifact_uri) / "pictures/bands.png"
        pictures[run.data.params["bands.n"]].add(picture.read_bytes())
    (five,), (six,) = pictures.values()
    assert five != six
    assert five.startswith(b"\x89PNG")


@pytest.mark.parametrize(("most", "before_the_first"), [(3, 1), (2, 1 + 4)])
def test_jobs_are_composed_before_the_first_where_not_all_choices_were(
    study: Study, monkeypatch: pytest.MonkeyPatch, most: int, before_the_first: int
) -> None:
    monkeypatch.setattr(validation.make_plan, "__defaults__", (3,))
    monkeypatch.setattr(validation, "MAX_CHOICES", most)
    words = composed(monkeypatch)
    assert main([*study.words, "-m", "bands.n=5,6", "seed=0,1"]) == 0
    assert len(words) == before_the_first + 4


class Foreign(Sweeper):
    """A sweeper of another package, whose jobs are its own."""

    def setup(self, **_: Any) -> None: ...

    def sweep(self, arguments: list[str]) -> None: ...


@pytest.mark.parametrize(("kind", "composed_jobs"), [(BasicSweeper, 0), (Foreign, 1)])
def test_jobs_that_another_sweeper_makes_are_composed_in_any_case(
    kind: type[Any], composed_jobs: int
) -> None:
    asked: list[object] = []
    loader = SimpleNamespace(
        repository=KeptRepository(None), load_sweep_config=lambda **words: asked.append(words)
    )
    loader.repository.jobs_checked = True
    sweeper = kind(max_batch_size=None) if kind is BasicSweeper else kind()
    sweeper.config, sweeper.hydra_context = DictConfig({}), SimpleNamespace(config_loader=loader)
    sweeper.validate_batch_is_legal([["seed=0"]])
    assert len(asked) == composed_jobs
