from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import OmegaConf
from optuna.trial import TrialState

from hyperspec.search.storage import absolute_storage, open_storage
from hyperspec.search.study import ask, requeue_orphans
from hyperspec.search.sweeper import Search
from hyperspec.search.trial import PRUNED, StudyNote, TrialReporter, build_pruner, write_study
from hyperspec.utils.errors import ConfigError, HyperspecError, TrackingError

APP = Path(__file__).with_name("search_app.py")
Job = Callable[[int, dict[str, str]], Any]


class _Launcher:
    """Runs jobs as plain calls; a job that raises gives a failed JobReturn."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seen: list[dict[str, str]] = []
        self.batches: list[int] = []

    def launch(self, jobs: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        self.batches.append(len(jobs))
        return [self._run(dict(word.split("=", 1) for word in words)) for words in jobs]  # type: ignore[arg-type]

    def _run(self, words: dict[str, str]) -> JobReturn:
        self.seen.append(words)
        number = int(words["+hydra.job.env_set.HYPERSPEC_TRIAL"])
        try:
            returned, status = self.job(number, words), JobStatus.COMPLETED
        except RuntimeError as error:
            returned, status = error, JobStatus.FAILED
        return JobReturn(_return_value=returned, status=status)


class _Loader:
    def load_sweep_config(self, config: object, words: list[str]) -> None:
        if any(word == "x=2" for word in words):
            raise HydraException("no option x=2")


def _search(folder: Path, job: Job, **options: Any) -> tuple[Search, _Launcher]:
    settings: dict[str, Any] = {
        "sampler": OmegaConf.create({"_target_": "optuna.samplers.RandomSampler", "seed": 0}),
        "direction": "maximize",
        "storage": "sqlite:///optuna.db",
        "study_name": "s",
        "n_trials": 4,
        "n_jobs": 2,
        "max_failure_rate": 1.0,
        "custom_search_space": None,
        "params": OmegaConf.create({"x": "interval(0.0,1.0)"}),
        "max_failures": None,
        "pruner": {"name": "none"},
    }
    hydra = {"runtime": {"cwd": str(folder)}, "sweep": {"dir": "out"}}
    launcher: Any = _Launcher(job)
    loader: Any = _Loader()
    config = OmegaConf.create({"hydra": hydra})
    return Search({**settings, **options}, config, launcher, loader), launcher


def _states(folder: Path, name: str = "s") -> list[str]:
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/optuna.db")
    return [trial.state.name for trial in study.trials]


def _score(number: int, words: dict[str, str]) -> float:
    return float(words["x"])


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_the_study_ends_with_its_total_over_several_starts(tmp_path: Path) -> None:
    first, launched = _search(tmp_path, _score, n_trials=3)
    first.sweep([])
    assert launched.batches == [2, 1]
    second, more = _search(tmp_path, _score, n_trials=5)
    second.sweep([])
    assert more.batches == [2]
    third, nothing = _search(tmp_path, _score, n_trials=5)
    third.sweep([])
    assert nothing.batches == []
    assert _states(tmp_path) == ["COMPLETE"] * 5
    seen = [*launched.seen, *more.seen]
    # Each start draws anew: a repeated seed would repeat the first start's values.
    assert len({words["x"] for words in seen}) == 5
    assert [words["hydra.sweep.subdir"] for words in seen] == ["0", "1", "2", "3", "4"]
    results = OmegaConf.load(tmp_path / "out" / "optimization_results.yaml")
    assert results.best_value == max(float(words["x"]) for words in seen)


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), "word", RuntimeError("boom")])
def test_a_bad_end_is_a_failed_trial_and_the_search_goes_on(tmp_path: Path, bad: object) -> None:
    def job(number: int, words: dict[str, str]) -> object:
        if number == 1 and isinstance(bad, RuntimeError):
            raise bad
        return bad if number == 1 else 0.5

    search, _ = _search(tmp_path, job)
    with pytest.raises(HyperspecError, match="has 3 of the 4 trials asked for: 1 failed; the"):
        search.sweep([])
    assert _states(tmp_path) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_a_launcher_that_loses_its_workers_costs_one_batch(tmp_path: Path) -> None:
    search, launcher = _search(tmp_path, _score)
    launch = launcher.launch

    def lose_first(jobs: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        if initial_job_idx == 0:
            raise RuntimeError("a worker was killed")
        return launch(jobs, initial_job_idx)

    launcher.launch = lose_first  # type: ignore[method-assign]
    with pytest.raises(HyperspecError, match="2 failed; the last one, 1, with: launcher: Runtime"):
        search.sweep([])
    assert _states(tmp_path) == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]


def test_max_failures_stops_a_hopeless_search(tmp_path: Path) -> None:
    search, launcher = _search(tmp_path, lambda number, words: None, n_trials=50, max_failures=3)
    with pytest.raises(HyperspecError, match="has 0 of the 50 trials asked for: 4 failed"):
        search.sweep([])
    assert launcher.batches == [2, 2]
    assert _states(tmp_path) == ["FAIL"] * 4


def test_a_pruned_trial_is_told_as_pruned(tmp_path: Path) -> None:
    def job(number: int, words: dict[str, str]) -> float:
        os.environ["HYPERSPEC_TRIAL"] = str(number)
        reporter = TrialReporter.current(tmp_path / "out")
        assert reporter is not None
        assert reporter.number == number
        good = number < 2
        for epoch in range(4):
            if reporter.report(0.9 if good else 0.1, epoch):
                assert not good
                return 0.1
        return 0.9

    pruner = {"name": "median", "n_startup_trials": 2, "n_warmup_steps": 1}
    search, _ = _search(tmp_path, job, pruner=pruner)
    try:
        search.sweep([])
    finally:
        del os.environ["HYPERSPEC_TRIAL"]
    assert _states(tmp_path) == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/optuna.db")
    assert [trial.user_attrs.get(PRUNED) for trial in study.trials] == [None, None, 1, 1]
    assert study.trials[2].value == 0.1


def test_a_job_outside_a_search_has_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TrialReporter.current(tmp_path) is None
    storage = f"sqlite:///{tmp_path}/optuna.db"
    optuna.create_study(study_name="s", storage=storage)
    write_study(tmp_path, StudyNote("s", storage, {"name": "none"}))
    assert (tmp_path / "study.json").stat().st_mode & 0o077 == 0
    assert TrialReporter.current(tmp_path) is None
    monkeypatch.setenv("HYPERSPEC_TRIAL", "7")
    with pytest.raises(TrackingError, match="The study s has no trial 7"):
        TrialReporter.current(tmp_path)


def test_trials_of_a_dead_controller_run_again_and_of_a_living_one_do_not(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/optuna.db"
    program = (
        "import sys, optuna; from hyperspec.search.study import ask; "
        "s = optuna.create_study(study_name='s', storage=sys.argv[1], direction='maximize'); "
        "t = ask(s); t.suggest_float('x', 0, 1); s.enqueue_trial({'x': 0.125}); "
        "ask(s).suggest_float('x', 0, 1); s.ask()"
    )
    subprocess.run([sys.executable, "-c", program, storage], check=True, capture_output=True)
    study = optuna.load_study(study_name="s", storage=storage)
    mine = ask(study)
    assert requeue_orphans(study, open_storage(storage, fresh=False)) == [0, 1, 2]
    assert study.trials[mine.number].state == TrialState.RUNNING
    first = study.trials[0].params["x"]
    search, launcher = _search(tmp_path, _score, n_trials=4)
    search.sweep([])
    assert [float(words["x"]) for words in launcher.seen[:2]] == [first, 0.125]
    # One trial is the living controller's own, so that three were left to run.
    assert len(launcher.seen) == 3
    assert _states(tmp_path).count("COMPLETE") == 3


def test_a_grid_keeps_its_numbering_over_starts(tmp_path: Path) -> None:
    grid = {"_target_": "optuna.samplers.GridSampler", "_partial_": True, "seed": 0}
    options = {"params": OmegaConf.create({"n": "choice(10,20,50)"}), "n_jobs": 1}
    values: list[str] = []
    for total in (1, 2, 100):
        sampler = OmegaConf.create(grid)
        search, launcher = _search(
            tmp_path, lambda n, w: 0.5, sampler=sampler, n_trials=total, **options
        )
        search.sweep([])
        values += [words["n"] for words in launcher.seen]
    assert sorted(values) == ["10", "20", "50"]


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    search, _ = _search(
        tmp_path,
        lambda number, words: (float(words["x"]), 1 - float(words["x"])),
        direction=["maximize", "maximize"],
    )
    search.sweep([])
    results = OmegaConf.load(tmp_path / "out" / "optimization_results.yaml")
    assert len(results.solutions) == 4
    with pytest.raises(ConfigError, match=r"direction: .* before, .* now") as caught:
        _search(tmp_path, _score)[0].sweep([])
    assert "hydra.sweeper.study_name" in str(caught.value)


def test_another_space_under_the_same_name_is_refused_with_the_difference(tmp_path: Path) -> None:
    _search(tmp_path, _score, n_trials=1)[0].sweep([])
    params = OmegaConf.create({"x": "interval(0.0,2.0)", "y": "choice(1,2)"})
    with pytest.raises(ConfigError) as caught:
        _search(tmp_path, _score, params=params)[0].sweep([])
    text = str(caught.value)
    assert "The study s was begun with something else (" in text
    assert "space of x: {" in text
    assert '"high": 1.0' in text
    assert '"high": 2.0' in text
    assert "space of y: not searched before" in text


def test_a_fixed_key_of_the_space_and_an_empty_space_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"x=0\.5 is fixed on the command line and searched"):
        _search(tmp_path, _score)[0].sweep(["x=0.5"])
    with pytest.raises(ConfigError, match="The search has no space"):
        _search(tmp_path, _score, params=OmegaConf.create({}))[0].sweep(["y=1"])
    with pytest.raises(ConfigError, match=r"n_trials=0 and n_jobs=2 must be at least 1"):
        _search(tmp_path, _score, n_trials=0)


def test_a_trial_that_cannot_be_composed_fails_alone_and_the_sweep_at_its_end(
    tmp_path: Path,
) -> None:
    grid = OmegaConf.create(
        {"_target_": "optuna.samplers.GridSampler", "_partial_": True, "seed": 0}
    )
    params = OmegaConf.create({"x": "choice(1,2,3)"})
    search, launcher = _search(tmp_path, _score, sampler=grid, params=params)
    with pytest.raises(HyperspecError, match=r"1 could not be composed, the first: x=2: no option"):
        search.sweep([])
    assert sorted(words["x"] for words in launcher.seen) == ["1", "3"]
    assert sorted(_states(tmp_path)) == ["COMPLETE", "COMPLETE", "FAIL"]


def test_pruners_are_built_by_name_and_bad_ones_refused() -> None:
    made = build_pruner({"name": "successive_halving", "reduction_factor": 3})
    assert isinstance(made, optuna.pruners.SuccessiveHalvingPruner)
    with pytest.raises(ConfigError, match=r"pruner\.name is best; choose one of none, median"):
        build_pruner({"name": "best"})
    with pytest.raises(ConfigError, match="does not fit the median pruner"):
        build_pruner({"name": "median", "patience": 3})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "sqlite:////out/optuna.db"),
        ("sqlite:///optuna.db", "sqlite:////cwd/optuna.db"),
        ("sqlite:////data/optuna.db", "sqlite:////data/optuna.db"),
        ("postgresql://host/db", "postgresql://host/db"),
    ],
)
def test_storages_become_absolute(given: str | None, expected: str) -> None:
    assert absolute_storage(given, Path("/cwd"), Path("/out")) == expected


def _start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(APP), "-m", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


def _jobs(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "jobs.txt").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib"])
def test_jobs_of_a_real_multirun_know_their_trial(tmp_path: Path, launcher: str) -> None:
    words = [f"hydra/launcher={launcher}", "hydra.sweeper.n_jobs=2"]
    if launcher == "joblib":
        words.append("hydra.launcher.n_jobs=2")
    words += ["hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1"]
    done = _start(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(job[0] for job in _jobs(tmp_path)) == ["0", "1", "2", "3"]
    assert all(number == folder for number, folder, _ in _jobs(tmp_path))
    assert len({x for _, _, x in _jobs(tmp_path)}) == 4, "trials side by side differ"
    assert set(_states(tmp_path, "x-v1")) <= {"COMPLETE", "PRUNED"}


@pytest.mark.slow
def test_a_killed_search_ends_with_its_total_when_started_again(tmp_path: Path) -> None:
    killed = _start(tmp_path, "behaviour=kill")
    assert killed.returncode == -9
    assert _states(tmp_path, "x-v1") == ["COMPLETE", "COMPLETE", "RUNNING"]
    lost = _jobs(tmp_path)[2]
    again = _start(tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert _states(tmp_path, "x-v1") == [*["COMPLETE"] * 2, "FAIL", *["COMPLETE"] * 2]
    repeated = _jobs(tmp_path)[3]
    assert (repeated[0], repeated[2]) == ("3", lost[2])
    assert len({folder for _, folder, _ in _jobs(tmp_path)}) == 5


@pytest.mark.slow
def test_two_controllers_on_a_fresh_study_share_its_total(tmp_path: Path) -> None:
    command = [sys.executable, str(APP), "-m", "hydra.sweeper.n_trials=7"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=600)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert _states(tmp_path, "x-v1") == ["COMPLETE"] * 7
    assert sorted(job[0] for job in _jobs(tmp_path)) == list("0123456")
