"""A study answers one question, whatever starts it; what failed does not use it up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage, InMemoryStorage
from sweep_study import Study
from test_sweeper import _score, _search, _states
from test_trials import asked, study_of

from hyperspec.cli.train import main
from hyperspec.config.compose import compose_words
from hyperspec.evaluation.metrics import measured
from hyperspec.runs.identity import describe_jobs
from hyperspec.search.study import Asked, fork_name, hold, open_study
from hyperspec.utils.errors import ConfigError, HyperspecError

pytestmark = pytest.mark.filterwarnings("ignore:hydra.utils.instantiate:UserWarning")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def question(high: float = 1.0, direction: str = "maximize", /, **settings: str) -> Asked:
    usual = {"epochs": "1", "objective": "val/knn_top1"}
    return Asked((direction,), {"x": FloatDistribution(0.0, high)}, usual | settings)


def begun(storage: BaseStorage, one: Asked, told: bool = True) -> optuna.Study:
    study = open_study("s", storage, optuna.pruners.NopPruner(), one)
    if told:
        study.tell(study.ask(), 0.5)
    return study


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (question(epochs="2"), "epochs: 1 before, 2 now"),
        (question(objective="val/rankme"), "objective: val/knn_top1 before, val/rankme now"),
        (question(seed="3"), "seed: not set before, 3 now"),
        (question(1.0, "minimize"), 'direction: ["maximize"] before, ["minimize"] now'),
        (question(2.0), '"high": 1.0, "log": false, "low": 0.0, "step": null} before, {"high": 2'),
    ],
)
def test_a_study_refuses_what_it_was_not_asked(other: Asked, difference: str) -> None:
    storage = InMemoryStorage()
    begun(storage, question())
    with pytest.raises(ConfigError) as caught:
        begun(storage, other)
    text = str(caught.value)
    assert "The study s was begun with something else (" in text
    assert difference in text
    assert f"sweep.changed=fork, which takes the study {fork_name('s', other)}." in text
    assert fork_name("s", other) != fork_name("s", question())
    assert fork_name("s", question()) == fork_name("s", question())
    assert len(begun(storage, question()).trials) == 2


def test_many_differences_are_cut() -> None:
    storage = InMemoryStorage()
    begun(storage, question())
    with pytest.raises(ConfigError, match="k5: not set before, 1 now; and 4 more"):
        begun(storage, question(**{f"k{i}": "1" for i in range(12)}))


def test_without_a_value_settings_may_be_mended() -> None:
    storage = InMemoryStorage()
    study = begun(storage, question(), told=False)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    begun(storage, question(epochs="2"), told=False)
    # A search that was asked the old way and still runs draws no trial into the mended study.
    with pytest.raises(ConfigError, match="epochs: 2 before, 1 now"):
        hold(study, question())
    begun(storage, question(epochs="2"))
    with pytest.raises(ConfigError, match="epochs: 2 before, 1 now"):
        begun(storage, question())


def test_a_search_whose_study_was_mended_by_another_start_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mend(seed: int) -> None:
        with pytest.raises(HyperspecError, match="has 0 of the 1 trials"):
            asked(_search(tmp_path, lambda *given: None, n_trials=1)[0], seed=seed).sweep([])

    search, launcher = _search(tmp_path, lambda *given: None, n_jobs=1)
    told = search._fail
    monkeypatch.setattr(search, "_fail", lambda *given: (told(*given), mend(5)))
    with pytest.raises(ConfigError, match="seed: 5 before, 0 now"):
        search.sweep([])
    assert len(launcher.seen) == 1


def test_a_study_of_an_earlier_version_goes_on_and_is_held_from_then_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = InMemoryStorage()
    old = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    old.set_user_attr("hyperspec:space", question().spaces)
    old.tell(old.ask(), 0.5)
    begun(storage, question())
    assert "did not keep what its 1 trials were asked" in caplog.text
    with pytest.raises(ConfigError, match="epochs: 1 before, 2 now"):
        begun(storage, question(epochs="2"))
    caplog.clear()
    begun(storage, question())
    assert caplog.text == ""


class _Composed:
    """Composes a job into its words, and knows no groups but ``bands``."""

    def load_sweep_config(self, config: DictConfig, words: list[str]) -> DictConfig:
        return OmegaConf.create(
            {"hydra": {}, **dict(config.job), **dict(word.split("=", 1) for word in words)}
        )

    def get_group_options(self, key: str) -> list[str]:
        return ["uniform", "pca"] if key == "bands" else []


def describe(configs: Sequence[DictConfig]) -> list[dict[str, str]]:
    """Say of a job what stands in it; of one with pca a setting more."""
    return [
        {
            **{str(key): str(value) for key, value in config.items()},
            **({"bands.explained": str(config.explained)} if config.get("bands") == "pca" else {}),
        }
        for config in configs
    ]


def start(
    folder: Path, *words: str, changed: str = "refuse", typed: str = "", **options: Any
) -> list[str]:
    """Start a search of one trial; return the names of all studies, new ones last."""
    options = {"params": OmegaConf.create({"x": "choice(1,2)"}), "n_trials": 1, **options}
    job = {"epochs": "1", "explained": "0.9"} | dict(word.split("=") for word in words)
    search, _ = _search(folder, lambda *given: 0.5, identity=f"{__name__}.describe", **options)
    search.loader = _Composed()  # type: ignore[assignment]
    hydra = {"runtime": {"choices": {"experiment": None}}, "overrides": {"hydra": [typed]}}
    asked(search, job=job, hydra=hydra, sweep={"changed": changed}).sweep([])
    return optuna.get_all_study_names(f"sqlite:///{folder}/optuna.db")


def test_searches_without_an_experiment_are_named_by_what_they_ask(tmp_path: Path) -> None:
    def names(*words: str, **options: Any) -> list[str]:
        return start(tmp_path, *words, study_name="None-gp-v1", **options)

    (first,) = names()
    assert first.startswith("adhoc-gp-v1-")
    assert names() == [first], "the same command finds it again"
    assert len(names("epochs=2")) == 2
    assert len(names(direction="minimize")) == 3
    assert len(names(params=OmegaConf.create({"x": "choice(1,2,3)"}))) == 4
    assert len(names("epochs=2", n_trials=2, n_jobs=1)) == 4, "how many trials is no question"
    assert start(tmp_path, study_name=None)[-1].startswith("search-")
    assert start(tmp_path, study_name="mine")[-1] == "mine"
    typed = "hydra.sweeper.study_name=None-gp-v1"  # a study of 0.1.0 that is meant by its name
    assert names(typed=typed)[-1] == "None-gp-v1"


def test_a_fork_is_found_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    start(tmp_path)
    with pytest.raises(ConfigError, match=r"\(epochs: 1 before, 2 now\)"):
        start(tmp_path, "epochs=2")
    for _ in range(2):
        _, forked = start(tmp_path, "epochs=2", changed="fork")
        assert forked.startswith("s-")
    assert f"(epochs: 1 before, 2 now): forked into the study {forked}" in caplog.text


def test_what_a_searched_choice_brings_along_counts(tmp_path: Path) -> None:
    params = OmegaConf.create({"bands": "choice(uniform,pca)"})
    start(tmp_path, params=params)
    with pytest.raises(ConfigError, match=r"bands.explained \(bands=pca\): 0.9 before, 0.8 now"):
        start(tmp_path, "explained=0.8", params=params)


def test_seeds_and_rotations_are_part_of_the_question(tmp_path: Path) -> None:
    def ask(seed: int = 0, seeds: int = 2, tell: str = "mean", rotate: int | None = None) -> None:
        search, _ = _search(tmp_path, lambda *given: 0.5, n_trials=1)
        split = {"data": {"split": {"rotate": rotate, "rotation": None}}} if rotate else {}
        asked(search, seed=seed, search={"seeds": seeds, "tell": tell}, **split).sweep([])

    ask()
    ask()
    for change, text in [
        ({"seed": 1}, "seed: 0 before, 1 now"),
        ({"seeds": 3}, "search.seeds: 2 before, 3 now"),
        ({"tell": "lower"}, "search.tell: mean before, lower now"),
        ({"rotate": 3}, "data.split.rotation: not set before, 0,1,2 now"),
    ]:
        with pytest.raises(ConfigError, match=text):
            ask(**change)


def test_a_mended_cause_runs_the_failed_trials_again(tmp_path: Path) -> None:
    def no_gpu(number: int, words: dict[str, str]) -> float:
        raise RuntimeError("no GPU")

    for _ in range(2):  # each failed trial once per start
        search, launcher = _search(tmp_path, no_gpu)
        with pytest.raises(HyperspecError, match=r"has 0 of the 4 .*4 failed; .*no GPU"):
            search.sweep([])
        assert len(launcher.seen) == 4
    lost = [words["x"] for words in launcher.seen]
    mended, again = _search(tmp_path, _score)
    mended.sweep([])
    assert [words["x"] for words in again.seen] == lost
    assert _states(tmp_path) == ["FAIL"] * 8 + ["COMPLETE"] * 4
    results = OmegaConf.load(tmp_path / "out" / "optimization_results.yaml")
    assert results.n_trials == 4
    after, nothing = _search(tmp_path, _score)
    after.sweep([])
    assert nothing.seen == []


def fails_once(number: int, words: dict[str, str]) -> float | None:
    return None if number == 1 else 0.5


def test_others_are_drawn_when_failed_ones_are_not_retried(tmp_path: Path) -> None:
    for times in range(2):
        search, launcher = _search(tmp_path, fails_once)
        asked(search, search={"retry_failed": False})
        if times:
            search.sweep([])
        else:
            with pytest.raises(HyperspecError, match=r"draws others \(search.retry_failed=false"):
                search.sweep([])
    assert len(launcher.seen) == 1
    trials = study_of(tmp_path).trials
    assert trials[-1].params not in [trial.params for trial in trials[:-1]]


def test_a_small_space_with_a_failed_point_ends(tmp_path: Path) -> None:
    params = OmegaConf.create({"x": "choice(1,3,4,8)"})

    def fails_at_3(number: int, words: dict[str, str]) -> float | None:
        return None if words["x"] == "3" else 0.5

    for _ in range(2):
        search, launcher = _search(tmp_path, fails_at_3, params=params, n_trials=30)
        with pytest.raises(HyperspecError, match="has 3 of the 4 trials asked for"):
            asked(search, search={"retry_failed": False}).sweep([])
    assert launcher.seen == [], "no point is run twice in the failed one's place"
    mended, again = _search(tmp_path, lambda *given: 0.5, params=params, n_trials=30)
    mended.sweep([])
    assert [words["x"] for words in again.seen] == ["3"]


def test_jobs_are_described_by_all_that_decides_them(study: Study) -> None:
    def described(*words: str) -> dict[str, str]:
        return describe_jobs([compose_words([*study.words, "bands.n=5", *words])])[0]

    first = described()
    assert first["epochs"] == "2"
    assert first["version of bands.uniform"].isdigit()
    for words in (["tracking.experiment=b"], ["search.seeds=2"], ["sweep.resume=false"]):
        assert described(*words) == first
    changed = {
        "epochs": "epochs=3",
        "objective": "objective=val/rankme",
        "hash of specimens and labels": "data.size=12",
        "hash of the split": "data.split.seed=1",
    }
    for key, word in changed.items():
        other = described(word)
        assert {k for k in first.keys() | other.keys() if first.get(k) != other.get(k)} >= {key}
    assert describe_jobs([OmegaConf.create({"x": 1})]) == [{}]


@pytest.mark.slow
def test_an_ad_hoc_search_is_no_other_and_says_what_it_lacks(
    study: Study, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = ["-m", "search=random", "bands.n=choice(5,6)", "hydra.sweeper.n_trials=1"]
    words = [word for word in study.words if not word.startswith("experiment=")]
    words += ["model=tiny", "batch_size=8", "evaluation.linear=false", *space]

    def names() -> list[str]:
        return optuna.get_all_study_names(f"sqlite:///{study.folder}/optuna.db")

    assert main(words) == 0
    (run,) = study.jobs()
    assert set(measured(["knn", "rankme"])) - {"bands.n"} <= set(run.data.metrics)
    assert main(words) == 0
    assert len(names()) == len(study.jobs()) == 1
    assert main([*words, "objective=cost/peak_memory_mb"]) == 0
    assert "Lowest cost/peak_memory_mb" in capfd.readouterr().out
    assert len(names()) == len(study.jobs()) == 2
    named = [*words, "hydra.sweeper.study_name=mine"]
    assert main(named) == 0
    assert main([*named, "epochs=1", "hydra.sweep.dir=elsewhere"]) == 2
    assert "The study mine was begun with something else (epochs: 2 before, 1" in " ".join(
        capfd.readouterr().err.split()
    )
    assert main([*named, "hydra.sweeper.n_trials=2", "bands.n=choice(5,7)"]) == 2
    fails = [*words, "bands.n=choice(99,98)", "hydra.sweep.dir=fails"]
    # As what only a job finds: too many bands are told before the first one.
    monkeypatch.setattr("hyperspec.sweeps.callback.look_first", lambda jobs: [])
    assert main(fails) == 1
    shown = " ".join(capfd.readouterr().err.split())
    assert "has 0 of the 1 trials asked for: 1 failed; the last one, 0, with: " in shown
    assert os.path.exists(study.folder / "fails" / "optimization_results.yaml")
