"""Every job of a sweep is composed and checked before the first one starts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.config import config_dir, groups
from hyperspec.config.schema import Train
from hyperspec.sweeps import validation
from hyperspec.sweeps.validation import Check, Plan, make_plan
from hyperspec.utils.errors import HyperspecError


@pytest.fixture
def _hydra() -> Iterator[None]:
    groups.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir())):
        yield


def plan(*words: str, limit: int = 300, check: Check = groups.to_train) -> Plan:
    loader = GlobalHydra.instance().config_loader()
    config = loader.load_configuration(
        "train", ["data.root=folder", *words], run_mode=RunMode.MULTIRUN
    )
    return make_plan(config, check, limit)


@pytest.mark.usefixtures("_hydra")
def test_each_of_a_hundred_jobs_is_checked() -> None:
    made = plan("bands.n=range(1,11)", "loss.temperature=0.05,0.1,0.2,0.3,0.4", "lr=1e-4,1e-3")
    assert (made.num_jobs, made.num_checked, made.problems) == (100, 100, ())
    assert made.text.splitlines() == [
        "sweep: 100 jobs",
        "  bands.n: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
        "  loss.temperature: 0.05, 0.1, 0.2, 0.3, 0.4",
        "  lr: 0.0001, 0.001",
    ]


@pytest.mark.usefixtures("_hydra")
def test_a_list_of_values_may_be_longer_than_a_file_name() -> None:
    assert plan(f"seed={','.join(map(str, range(500)))}").num_jobs == 500


@pytest.mark.usefixtures("_hydra")
@pytest.mark.parametrize(
    ("subdir", "words", "told"),
    [
        ("${hydra_override_dirname:}", ["bands.n=5,6", "seed=0,1"], None),
        ("run_${hydra.job.num}_${bands.n}", ["bands.n=5,6", "seed=0,1"], None),
        ("job", ["bands.n=5,6"], "gives two jobs the folder job"),
        ("n_${bands.n}", ["bands.n=5,6", "seed=0,1"], "gives two jobs the folder n_5"),
        ("n_${bands.n}/../x", ["bands.n=5,6"], "gives two jobs the folder"),
        ("${hydra:job.override_dirname}", [f"study={'s' * 250}", "bands.n=5,6"], "is the longest"),
        # Two seeds of one trial of a search.
        (
            "n_${bands.n}",
            ["search=random", "search.seeds=2", "bands.n=choice(5,6)"],
            "gives two jobs the folder n_5",
        ),
    ],
)
def test_folders_of_jobs_are_looked_at_first(
    subdir: str, words: list[str], told: str | None
) -> None:
    words = [*words, f"hydra.sweep.subdir={subdir}"]
    if told is None:
        assert plan(*words).num_jobs == 4
    else:
        with pytest.raises(HyperspecError, match=told):
            plan(*words)


@pytest.mark.usefixtures("_hydra")
@pytest.mark.parametrize(
    ("study", "told"), [("a:b", "it has a ':'"), ("nul", "the name of a device"), ("x", None)]
)
def test_names_that_windows_does_not_take_are_refused_there(
    study: str, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"study={study}", "bands.n=5,6", "hydra.sweep.subdir=${study}/n_${bands.n}"]
    assert plan(*words).num_jobs == 2
    monkeypatch.setattr("hyperspec.sweeps.subdir.os", SimpleNamespace(**{**vars(os), "name": "nt"}))
    if told is None:
        assert plan(*words).num_jobs == 2
        return
    with pytest.raises(HyperspecError, match=told):
        plan(*words)


@pytest.mark.usefixtures("_hydra")
def test_folders_that_differ_in_case_alone_are_one_where_case_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["study=ab,AB", "bands.n=5", "hydra.sweep.subdir=of_${study}"]
    assert plan(*words).num_jobs == 2
    monkeypatch.setattr("hyperspec.sweeps.subdir.FOLDS_CASE", True)
    with pytest.raises(HyperspecError, match="gives two jobs the folder of_AB"):
        plan(*words)


@pytest.mark.usefixtures("_hydra")
def test_all_problems_are_listed_at_once_with_their_overrides() -> None:
    made = plan("bands.n=5,0", "loss.temperature=0.1,-1,abc", "hardware.micro_batch=8,65")
    texts = {problem.message.split(",")[0]: problem for problem in made.problems}
    assert texts["hardware.micro_batch is 65"].overrides == (
        "bands.n=5",
        "loss.temperature=0.1",
        "hardware.micro_batch=65",
    )
    assert texts["hardware.micro_batch is 65"].num_jobs == 1
    assert texts["bands.n is 0"].num_jobs == 4
    assert texts["loss.temperature=-1 is out of range: similarities are divided by it"]
    assert any("'abc' of type 'str' could not be converted to Float" in t for t in texts)
    assert sum(problem.num_jobs for problem in made.problems) == 11
    assert made.complaint.startswith("11 of 12 checked jobs cannot run, so that none is started:")


@pytest.mark.usefixtures("_hydra")
def test_values_are_checked_against_the_options_of_their_job() -> None:
    made = plan("bands=uniform,rgb", "bands.n=3,4")
    (problem,) = made.problems
    assert problem.overrides == ("bands=rgb", "bands.n=3")
    assert problem.num_jobs == 2
    assert "Key 'n' not in 'Rgb'" in problem.message


@pytest.mark.usefixtures("_hydra")
def test_a_job_is_checked_without_what_the_one_before_set() -> None:
    seen: list[tuple[object, ...]] = []

    def check(config: DictConfig) -> None:
        noted = config.evaluation.curve_strategies, config.evaluation.controls, config.lr
        seen.append(tuple(OmegaConf.to_object(one) if OmegaConf.is_config(one) else one
                          for one in noted))  # fmt: skip

    curves, controls, rates = (["pca", "uniform"], []), (True, ["untrained"]), (1e-3, 1e-4)
    plan(
        "evaluation.curve_strategies=[pca,uniform],[]",
        "evaluation.controls=true,[untrained]",
        "lr=1e-3,1e-4",
        check=check,
    )
    expected = list(itertools.product(curves, controls, rates))
    assert sorted(map(repr, seen)) == sorted(map(repr, expected))


@pytest.mark.usefixtures("_hydra")
def test_a_dictionary_leaves_nothing_behind_for_the_next_job() -> None:
    seen: list[tuple[int, bool]] = []

    def check(config: DictConfig) -> None:
        seen.append((config.evaluation.k, config.evaluation.linear))

    plan("evaluation={k:7},{linear:false}", check=check)
    assert seen == [(7, True), (5, False)]


@pytest.mark.usefixtures("_hydra")
def test_a_large_grid_is_sampled_and_no_value_is_left_out() -> None:
    made = plan("bands.n=range(1,41)", "seed=range(0,40)", "lr=1e-4,1e-3,-1", limit=100)
    assert (made.num_jobs, made.num_checked, made.composable) == (4800, 100, True)
    assert "checked: 100 jobs, every value at least once" in made.text
    made = plan("seed=range(0,40)", "bands.n=range(0,41)", limit=100)
    assert [problem.message.split(",")[0] for problem in made.problems] == ["bands.n is 0"]


@pytest.mark.usefixtures("_hydra")
def test_of_a_large_grid_every_value_is_composed_beside_every_choice_of_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("bands=uniform,random", "model=tiny,resnet18", "lr=1e-4,1e-3", "seed=range(0,50)")
    seen: list[Train] = []

    def check(config: DictConfig) -> Train:
        seen.append(groups.to_train(config))
        return seen[-1]

    made = plan(*words, limit=60, check=check)
    assert (made.num_jobs, made.composable) == (400, True)
    pairs = {(job.bands.name, job.model.name, job.seed) for job in seen}
    assert len(pairs) == 2 * 2 * 50
    rates = {(job.bands.name, job.model.name, job.lr) for job in seen}
    assert len(rates) == 2 * 2 * 2
    monkeypatch.setattr(validation, "MAX_CHOICES", 100)
    made = plan(*words, limit=60)
    assert (made.num_checked, made.composable) == (60, False)
    made = plan("bands=uniform,rgb", "bands.n=3,4", "seed=range(0,40)", limit=10)
    assert "Key 'n' not in 'Rgb'" in made.complaint


@pytest.mark.usefixtures("_hydra")
def test_a_search_is_checked_at_every_choice_and_at_the_ends_of_its_ranges() -> None:
    words = ["experiment=temperature_lr", "search=tpe", "hydra.sweeper.n_trials=7"]
    made = plan(*words, "batch_size=choice(8,1)", "weight_decay=interval(0.0,0.1)")
    assert made.num_jobs == 7
    assert not made.composable
    assert not plan(*words[:2], "hydra.sweeper.n_trials=1", "lr=choice(0.1)").composable
    (problem,) = made.problems
    assert "batch_size=1" in problem.overrides
    assert "weight_decay: 0 to 0.1" in made.text


def test_a_sweep_with_a_bad_job_starts_none(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*study.words, "-m", "bands.n=5,6", "batch_size=16,1"]) == 2
    shown = capsys.readouterr().err
    assert "error: 2 of 4 checked jobs cannot run, so that none is started:" in shown
    assert "bands.n=5 batch_size=1 and 1 more: batch_size is 1, but contrastive" in shown
    assert study.runs() == []


def test_a_dry_run_says_how_many_jobs_and_starts_none(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*study.words, "-m", "bands.n=5,6", "seed=0,1,2", "sweep.dry_run=true"]) == 0
    shown = capsys.readouterr().out
    assert "sweep: 6 jobs" in shown
    assert "dry run" in shown
    assert study.runs() == []
