"""Trials of several jobs, trials side by side, and pruners, with jobs that are plain calls."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import DictConfig, OmegaConf
from test_sweeper import _search, _states

from hyperspec.search.sweeper import Search
from hyperspec.search.trial import PRUNED, TrialReporter
from hyperspec.utils.errors import ConfigError, HyperspecError

SAMPLERS = {
    "tpe": {
        "_target_": "optuna.samplers.TPESampler",
        "seed": 0,
        "n_startup_trials": 2,
        "multivariate": True,
        "constant_liar": True,
    },
    "random": {"_target_": "optuna.samplers.RandomSampler", "seed": 0},
    "qmc": {"_target_": "optuna.samplers.QMCSampler", "seed": 0, "scramble": True},
    "nsga2": {
        "_target_": "hydra_plugins.hydra_optuna_sweeper._impl.create_nsgaii_sampler",
        "seed": 0,
        "population_size": 3,
    },
}
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def asked(search: Search, /, **config: Any) -> Search:
    """Give the search a config beyond Hydra's own."""
    search.config = OmegaConf.merge(search.config, OmegaConf.create(config))  # type: ignore[assignment]
    return search


def study_of(folder: Path, name: str = "s") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/optuna.db")


def by_seed(number: int, words: dict[str, str]) -> float:
    return float(words["x"]) + int(words["seed"])


def test_a_trial_of_several_seeds_is_told_their_mean(tmp_path: Path) -> None:
    search, launcher = _search(tmp_path, by_seed, n_trials=2)
    asked(search, search={"seeds": 3}, seed=5).sweep([])
    assert launcher.batches == [6], "two trials side by side, all seeds at once"
    assert [words["seed"] for words in launcher.seen] == ["5", "6", "7"] * 2
    folders = [words["hydra.sweep.subdir"] for words in launcher.seen]
    assert folders[:4] == ["0/seed_5", "0/seed_6", "0/seed_7", "1/seed_5"]
    for trial in study_of(tmp_path).trials:
        x = trial.params["x"]
        assert trial.value == pytest.approx(x + 6)
        assert trial.user_attrs["hyperspec:seeds"] == {"5": [x + 5], "6": [x + 6], "7": [x + 7]}


def by_seed_and_rotation(number: int, words: dict[str, str]) -> float:
    # Rotations differ far more than seeds, and alike in all trials.
    turn = int(words["data.split.rotation"])
    return float(words["x"]) + int(words["seed"]) + [0.0, 30.0, 60.0][turn]


ROTATE = {"split": {"rotate": 3, "rotation": None}}


def test_a_trial_runs_every_rotation_of_every_seed_and_is_told_their_mean(tmp_path: Path) -> None:
    search, launcher = _search(tmp_path, by_seed_and_rotation, n_trials=1)
    asked(search, search={"seeds": 2}, seed=5, data=ROTATE).sweep([])
    assert [w["hydra.sweep.subdir"] for w in launcher.seen] == [
        *("0/seed_5/rotation_0", "0/seed_5/rotation_1", "0/seed_5/rotation_2"),
        *("0/seed_6/rotation_0", "0/seed_6/rotation_1", "0/seed_6/rotation_2"),
    ]
    follows = ["+hydra.job.env_set.HYPERSPEC_TRIAL_FOLLOWS" in words for words in launcher.seen]
    assert follows == [False, *[True] * 5]
    (trial,) = study_of(tmp_path).trials
    x = trial.params["x"]
    assert trial.value == pytest.approx(x + 35.5)
    assert trial.user_attrs["hyperspec:seeds"] == {
        "5": [pytest.approx(x + 35)],
        "6": [pytest.approx(x + 36)],
    }


def test_one_seed_runs_rotations_too_unless_one_is_given(tmp_path: Path) -> None:
    def job(number: int, words: dict[str, str]) -> tuple[float, float]:
        return float(words.get("data.split.rotation", 7)), -1.0

    search, launcher = _search(tmp_path, job, n_trials=1, direction=["maximize", "minimize"])
    asked(search, objective=["a", "b"], data=ROTATE).sweep([])
    assert [w["hydra.sweep.subdir"] for w in launcher.seen] == [
        *("0/rotation_0", "0/rotation_1", "0/rotation_2")
    ]
    assert study_of(tmp_path).trials[0].values == [1.0, -1.0]
    (tmp_path / "optuna.db").unlink()
    search, launcher = _search(tmp_path, job, n_trials=1, direction=["maximize", "minimize"])
    fixed = {"split": {"rotate": 3, "rotation": 2}}
    asked(search, objective=["a", "b"], data=fixed).sweep([])
    assert [words["hydra.sweep.subdir"] for words in launcher.seen] == ["0"]


def test_the_lower_end_is_of_seeds_with_rotations_folded(tmp_path: Path) -> None:
    search, _ = _search(tmp_path, by_seed_and_rotation, n_trials=1)
    told = {"seeds": 2, "tell": "lower", "confidence": 0.75}
    asked(search, search=told, data=ROTATE).sweep(["seed=1"])
    (trial,) = study_of(tmp_path).trials
    low = trial.params["x"] + 31.5 - math.sqrt(0.5) / math.sqrt(2)
    assert trial.value == pytest.approx(low)


def test_a_failed_rotation_fails_its_trial(tmp_path: Path) -> None:
    def job(number: int, words: dict[str, str]) -> float:
        return math.nan if (number, words["data.split.rotation"]) == (0, "2") else 0.5

    search, launcher = _search(tmp_path, job, n_trials=2, n_jobs=1)
    with pytest.raises(HyperspecError, match="has 1 of the 2 trials asked for"):
        asked(search, data=ROTATE).sweep([])
    assert _states(tmp_path) == ["FAIL", "COMPLETE"]
    assert len(launcher.seen) == 6


def test_the_first_rotation_decides_whether_the_others_run(tmp_path: Path) -> None:
    def job(number: int, words: dict[str, str]) -> float:
        good = number == 0 and words["data.split.rotation"] == "0"
        return reports(number, tmp_path, words, [0.9 if good else 0.1] * 3)

    pruner = {"name": "median", "n_startup_trials": 1}
    search, launcher = _search(tmp_path, job, n_trials=2, n_jobs=1, pruner=pruner)
    asked(search, data=ROTATE).sweep([])
    assert _states(tmp_path) == ["COMPLETE", "PRUNED"]
    assert [words["hydra.sweep.subdir"] for words in launcher.seen] == [
        *("0/rotation_0", "0/rotation_1", "0/rotation_2", "1/rotation_0")
    ]


def test_the_lower_end_is_told_when_asked_for(tmp_path: Path) -> None:
    search, _ = _search(tmp_path, by_seed, n_trials=1)
    asked(search, search={"seeds": 2, "tell": "lower", "confidence": 0.75}).sweep(["seed=1"])
    (trial,) = study_of(tmp_path).trials
    # t of 1 degree of freedom is Cauchy's distribution: its 0.75 quantile is 1.
    low = trial.params["x"] + 1.5 - math.sqrt(0.5) / math.sqrt(2)
    assert trial.value == pytest.approx(low)


def test_a_failed_seed_fails_its_trial(tmp_path: Path) -> None:
    def job(number: int, words: dict[str, str]) -> float:
        return math.nan if (number, words["seed"]) == (0, "1") else 0.5

    search, launcher = _search(tmp_path, job, n_trials=2, n_jobs=1)
    with pytest.raises(HyperspecError, match="has 1 of the 2 trials asked for"):
        asked(search, search={"seeds": 2}).sweep([])
    assert _states(tmp_path) == ["FAIL", "COMPLETE"]
    assert len(launcher.seen) == 4


def reports(number: int, folder: Path, words: dict[str, str], scores: list[float]) -> float:
    """Report a trial's scores as a job does, until it is told to stop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPERSPEC_TRIAL", str(number))
        if "+hydra.job.env_set.HYPERSPEC_TRIAL_FOLLOWS" in words:
            patch.setenv("HYPERSPEC_TRIAL_FOLLOWS", "1")
        reporter = TrialReporter.current(folder / "out")
    for epoch, score in enumerate(scores, start=1):
        if reporter is not None and reporter.report(score, epoch):
            return score
    return scores[-1]


def test_the_first_seed_decides_whether_the_others_run(tmp_path: Path) -> None:
    assert "HYPERSPEC_TRIAL" not in os.environ

    def job(number: int, words: dict[str, str]) -> float:
        # The second seed is bad in every trial, which must stop none.
        good = number == 0 and words["seed"] == "0"
        return reports(number, tmp_path, words, [0.9 if good else 0.1] * 3)

    pruner = {"name": "median", "n_startup_trials": 1}
    search, launcher = _search(tmp_path, job, n_trials=3, n_jobs=1, pruner=pruner)
    asked(search, search={"seeds": 2}).sweep([])
    assert _states(tmp_path) == ["COMPLETE", "PRUNED", "PRUNED"]
    assert [(w["hydra.sweep.subdir"]) for w in launcher.seen] == [
        *("0/seed_0", "0/seed_1", "1/seed_0", "2/seed_0")
    ]
    assert study_of(tmp_path).trials[0].value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("pruner", "rungs"),
    [
        ({"name": "median", "n_startup_trials": 2, "n_warmup_steps": 3}, {3}),
        ({"name": "successive_halving", "min_resource": 2, "reduction_factor": 2}, {2, 4, 8}),
        (
            {"name": "hyperband", "min_resource": 1, "max_resource": 8, "reduction_factor": 2},
            {1, 2, 4, 8},
        ),
    ],
)
def test_pruners_stop_the_worst_at_their_rungs(
    tmp_path: Path, pruner: dict[str, Any], rungs: set[int]
) -> None:
    def job(number: int, words: dict[str, str]) -> float:
        # Falling quality, so that each trial is worse than all before it.
        return reports(number, tmp_path, words, [1.0 - 0.1 * number] * 8)

    search, _ = _search(tmp_path, job, n_trials=8, n_jobs=1, pruner=pruner)
    search.sweep([])
    trials = study_of(tmp_path).trials
    stopped = {t.number: t.user_attrs[PRUNED] for t in trials if t.state.name == "PRUNED"}
    assert trials[0].state.name == "COMPLETE"
    assert len(stopped) >= 4
    assert set(stopped.values()) <= rungs
    assert all(
        max(t.intermediate_values) == stopped[t.number] for t in trials if t.number in stopped
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_trial_repeats_another_and_a_small_space_ends(tmp_path: Path, name: str) -> None:
    params = OmegaConf.create({"x": "choice(1,3,4,8)"})
    search, launcher = _search(
        tmp_path,
        lambda number, words: float(words["x"]),
        sampler=OmegaConf.create(SAMPLERS[name]),
        params=params,
        n_trials=30,
    )
    search.sweep([])
    assert sorted(words["x"] for words in launcher.seen) == ["1", "3", "4", "8"]
    assert _states(tmp_path).count("COMPLETE") == 4


def test_a_sampler_that_keeps_to_one_point_is_given_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stubborn(optuna.samplers.RandomSampler):
        def sample_independent(self, *given: Any) -> Any:
            return given[-1].choices[-1]

    from hyperspec.search import sweeper as module

    monkeypatch.setattr(module, "build_sampler", lambda *given: Stubborn())
    monkeypatch.setattr(module, "_REDRAWS", 3)  # each takes a moment
    params = OmegaConf.create({"x": "choice(1,3,4,8)", "y": "choice(a,b)"})
    search, launcher = _search(tmp_path, lambda *given: 0.5, params=params, n_trials=6, n_jobs=1)
    search.sweep([])
    drawn = [(words["x"], words["y"]) for words in launcher.seen]
    assert drawn[0] == ("8", "b")
    assert len(set(drawn)) == len(drawn) == 6


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_in_two_parts_draws_what_an_unbroken_one_does(tmp_path: Path, name: str) -> None:
    def drawn(study: str, *totals: int) -> list[str]:
        values = []
        for total in totals:
            search, launcher = _search(
                tmp_path,
                lambda number, words: float(words["x"]),
                sampler=OmegaConf.create(SAMPLERS[name]),
                study_name=study,
                n_trials=total,
                n_jobs=1,
            )
            search.sweep([])
            values += [words["x"] for words in launcher.seen]
        return values

    whole = drawn("whole", 5)
    assert drawn("parts", 3, 5) == whole
    assert len(set(whole)) == 5


def test_the_next_trial_is_drawn_knowing_those_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hyperspec.search import sweeper as module

    known: list[int] = []
    build = module.build_sampler

    def spy(*arguments: Any) -> optuna.samplers.BaseSampler:
        trials = study_of(tmp_path).trials
        known.append(sum(bool(t.params) for t in trials if t.state.name == "RUNNING"))
        return build(*arguments)

    monkeypatch.setattr(module, "build_sampler", spy)
    options = {"sampler": OmegaConf.create(SAMPLERS["tpe"]), "n_trials": 6, "n_jobs": 3}
    search, launcher = _search(tmp_path, lambda number, words: float(words["x"]), **options)
    search.sweep([])
    assert known == [0, 1, 2, 0, 1, 2]
    assert len({words["x"] for words in launcher.seen}) == 6


def test_a_branch_is_drawn_again_after_its_controller_died(tmp_path: Path) -> None:
    options = {"params": OmegaConf.create({"b": "choice(one,two)"}), "n_jobs": 1, "n_trials": 4}
    branches = {"b": {"one": {"x": "interval(0.0,1.0)"}, "two": {"y": "choice(1,2,3)"}}}

    def job(number: int, words: dict[str, str]) -> float:
        if number == 1:
            raise SystemExit(137)  # ends the controller, as a signal would
        return 0.5

    search, launcher = _search(tmp_path, job, **options)
    with pytest.raises(SystemExit):
        asked(search, search={"branches": branches}).sweep([])
    for words in launcher.seen:
        assert {"x", "y"} & words.keys() == ({"x"} if words["b"] == "one" else {"y"})
    study = study_of(tmp_path)
    # A process that is no more: the trial's own still runs this test.
    lost = optuna.trial.Trial(study, study.trials[1]._trial_id)
    boot, namespace, _, start = study.trials[1].user_attrs["hyperspec:process"].split("/")
    lost.set_user_attr("hyperspec:process", f"{boot}/{namespace}/999999999/{start}")
    again, second = _search(tmp_path, lambda number, words: 0.5, **options)
    asked(again, search={"branches": branches}).sweep([])
    kept = {key: second.seen[0].get(key) for key in ("b", "x", "y")}
    assert kept == {key: launcher.seen[1].get(key) for key in ("b", "x", "y")}
    assert _states(tmp_path).count("COMPLETE") == 4


def also_y(config: DictConfig, trial: optuna.Trial) -> None:
    trial.suggest_int("y", config.low, 9)


# The program's main function gives the list of trusted targets, and there is none here.
@pytest.mark.filterwarnings("ignore:hydra.utils.instantiate:UserWarning")
def test_a_function_may_draw_more_of_a_trial(tmp_path: Path) -> None:
    name = f"{__name__}.also_y"
    search, launcher = _search(tmp_path, lambda *given: 0.5, custom_search_space=name, n_trials=2)
    asked(search, low=7).sweep([])
    assert all(7 <= int(words["y"]) <= 9 for words in launcher.seen)
    assert [set(trial.params) for trial in study_of(tmp_path).trials] == [{"x", "y"}] * 2


def test_a_grid_over_a_range_without_steps_is_refused(tmp_path: Path) -> None:
    grid = {"_target_": "optuna.samplers.GridSampler", "_partial_": True, "seed": 0}
    search, _ = _search(tmp_path, lambda *given: 0.5, sampler=OmegaConf.create(grid))
    with pytest.raises(ConfigError, match="GridSampler only supports discrete distributions"):
        search.sweep([])
