"""What a search is asked for, read and checked before anything runs."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hyperspec.config.sweep import SearchConfig
from hyperspec.evaluation.metrics import natural_direction
from hyperspec.evaluation.objective import objective_names
from hyperspec.search.request import Request, read_request
from hyperspec.search.space import Distribution, SearchSpace, choices, read_space
from hyperspec.search.study import pooled
from hyperspec.utils.errors import ConfigError

BRANCHES = {
    "bands": {
        "pca": {"bands.explained": "interval(0.8,0.99)", "bands.n": "choice(10,20)"},
        "regions": {"bands.n": "choice(5,10)"},
    },
    "loss": {"dcl": {"loss.temperature": "interval(0.05,0.2)"}},
}
PARAMS = {"bands": "choice(uniform,pca,regions)", "lr": "interval(0.0001,0.001)"}


def drawn(space: SearchSpace, values: dict[str, Any]) -> list[str]:
    """Draw one trial with some values given."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(values)
    return space.suggest(study.ask())


def keys(words: list[str]) -> list[str]:
    return [word.split("=")[0] for word in words]


def test_each_choice_brings_its_own_parameters() -> None:
    branches = {"bands": BRANCHES["bands"]}
    space = read_space(PARAMS, ["epochs=3", "~views"], branches)
    assert set(space.labelled) == {
        *("bands", "lr", "bands.explained (bands=pca)"),
        *("bands.n (bands=pca)", "bands.n (bands=regions)"),
    }
    words = drawn(space, {"bands": "pca", "bands.n (bands=pca)": 20})
    assert keys(words) == ["bands", "lr", "bands.explained", "bands.n", "epochs", "~views"]
    assert words[0] == "bands=pca"
    assert "bands.n=20" in words
    assert 0.8 <= float(words[2].split("=")[1]) <= 0.99
    words = drawn(space, {"bands": "regions", "bands.n (bands=regions)": 5})
    assert keys(words) == ["bands", "lr", "bands.n", "epochs", "~views"]
    assert keys(drawn(space, {"bands": "uniform"})) == ["bands", "lr", "epochs", "~views"]


def test_a_branch_opens_another_one_and_a_fixed_choice_opens_its_own() -> None:
    nested = {"bands": {"pca": {"loss": "choice(dcl,nt_xent)"}}, "loss": BRANCHES["loss"]}
    space = read_space(PARAMS, [], nested)
    words = drawn(space, {"bands": "pca", "loss (bands=pca)": "dcl"})
    assert keys(words) == ["bands", "lr", "loss", "loss.temperature"]
    assert keys(drawn(space, {"bands": "pca", "loss (bands=pca)": "nt_xent"}))[-1] == "loss"
    fixed = read_space({"lr": "interval(0.1,0.2)"}, ["loss=dcl"], {"loss": BRANCHES["loss"]})
    assert keys(drawn(fixed, {})) == ["lr", "loss.temperature", "loss"]


def test_the_size_of_a_space() -> None:
    def size(params: dict[str, str], branches: Any = None) -> float:
        return read_space(params, [], branches or {}).size

    assert size({"a": "choice(1,2,3)", "b": "range(0,10,2)", "c": "range(0.0,1.0,0.25)"}) == 60
    assert math.isinf(size(PARAMS))
    assert math.isinf(size({"bands": "choice(uniform,pca)"}, {"bands": {"pca": {"x": "range(3)"}}}))


@pytest.mark.parametrize(
    ("branches", "words", "text"),
    [
        ({"band": {"pca": {"x": "choice(1,2)"}}}, [], r"hangs on band, which is .* mean bands\?"),
        ({"bands": {"pac": {"x": "choice(1,2)"}}}, [], r"bands is never pac\. Did you mean pca\?"),
        ({"bands": {"pca": {"x": "3"}}}, [], r"branches\.bands\.pca gives x one value"),
        ({"bands": {"pca": {"x": "choice("}}}, [], r"search\.branches\.bands\.pca: .*choice\("),
        ({"bands": {"pca": {"lr": "choice(1,2)"}}}, [], "draws lr, which is searched in all"),
        ({"bands": {"pca": {"x": "choice(1,2)"}}}, ["x=1"], "draws x, which is fixed too"),
        ({}, ["lr=0.1"], r"lr=0\.1 is fixed on the command line and searched"),
    ],
)
def test_spaces_that_cannot_be_meant_are_refused(
    branches: Any, words: list[str], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        read_space(PARAMS, words, branches)


def request(words: tuple[str, ...] = (), *, sweeper: Any = None, **config: Any) -> Request:
    options = {"params": {"x": "interval(0.0,1.0)"}, "direction": "maximize", **(sweeper or {})}
    made = OmegaConf.create({"seed": 4, "objective": "auto", **config})
    return read_request(made, options, list(words))


def test_directions_follow_from_the_objectives() -> None:
    several = ["val/knn_top1", "bands.n", "cost/samples_per_second", "cost/peak_memory_mb"]
    made = request(objective=several, sweeper={"direction": "auto"})
    assert made.directions == ("maximize", "minimize", "maximize", "minimize")
    assert request(objective=several, sweeper={"direction": made.directions}) == made
    assert request().directions == ("maximize",)
    for one in (None, "auto"):
        memory = request(objective="cost/peak_memory_mb", sweeper={"direction": one})
        assert memory.directions == ("minimize",)
    assert natural_direction("train/loss") == "minimize"
    assert natural_direction("val/alignment_high") == "minimize"
    # Of a number that has no row nobody knows the direction but who asks.
    assert request(objective="mine", sweeper={"direction": "minimize"}).directions == ("minimize",)


@pytest.mark.parametrize(
    ("objective", "direction", "better"),
    [
        ("cost/peak_memory_mb", "maximize", "less"),
        ("bands.n", "maximize", "less"),
        ("auto", "minimize", "more"),
        ("val/knn_top1_low", "minimize", "more"),
        (["val/rankme", "val/alignment"], ["maximize", "maximize"], "less"),
    ],
)
def test_a_direction_that_contradicts_the_metric_is_refused(
    objective: Any, direction: Any, better: str
) -> None:
    with pytest.raises(ConfigError, match=f"of which {better} is better: .*hydra/sweeper=optuna"):
        request(objective=objective, sweeper={"direction": direction})


def test_seeds_begin_with_that_of_the_config() -> None:
    assert request().first_seed == 4
    assert request(("seed=7",)).first_seed == 7
    made = request(search={"seeds": 3, "tell": "lower", "confidence": 0.9, "branches": {}})
    assert (made.settings.seeds, made.settings.tell) == (3, "lower")


MEDIAN = {"pruner": {"name": "median"}}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"sweeper": {"direction": ["maximize"] * 2}},
            r"has 2 direction\(s\) .* has 1 metric",
        ),
        (
            {"sweeper": {"direction": "up"}},
            r"direction has .up.; choose maximize, minimize",
        ),
        ({"objective": ["a", "b"]}, r"has 1 direction\(s\) \(maximize\), and objective has 2"),
        ({"objective": ["a", "a"]}, "objective names a twice"),
        ({"objective": []}, r"objective is \[\]; give the name of a metric"),
        (
            {"objective": ["a", "bands.n"], "sweeper": {**MEDIAN, "direction": "auto"}},
            "The pruner median stops trials by one score, and objective names 2 metrics",
        ),
        (
            {"objective": "bands.n", "sweeper": {**MEDIAN, "direction": "auto"}},
            "but this search minimises",
        ),
        (
            {"sweeper": MEDIAN, "evaluation": {"every_n_epochs": 0}},
            r"never sees a score: evaluation\.every_n_epochs is 0",
        ),
        ({"sweeper": {"pruner": {"name": "best"}}}, r"pruner\.name is best"),
        ({"sweeper": {"params": {}}}, "The search has no space"),
        (
            {"search": {"seeds": 2}, "sweeper": {"params": {"seed": "choice(1,2)"}}},
            r"search\.seeds=2 runs each trial with several seeds, and seed is searched too",
        ),
        (
            {"sweeper": {"params": {"data.split.rotation": "choice(0,1)"}}},
            r"data\.split\.rotation is searched, but it decides which specimens",
        ),
        (
            {
                "search": {"branches": {"x": {"1": {"data.split.rotate": "choice(3,4)"}}}},
                "sweeper": {"params": {"x": "choice(1,2)"}},
            },
            r"data\.split\.rotate is searched, but it decides which specimens",
        ),
        (
            {
                "search": {"branches": {"x": {"1": {"y": "choice(1,2)"}}}},
                "sweeper": {
                    "params": {"x": "choice(1,2)"},
                    "sampler": {"_target_": "optuna.samplers.GridSampler"},
                },
            },
            "A grid has no branches",
        ),
    ],
)
def test_requests_that_contradict_themselves_are_refused(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        request(**options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seeds": 0}, r"search\.seeds is 0"),
        ({"tell": "best"}, r"search\.tell is 'best'; choose mean or lower"),
        ({"tell": "lower"}, r"search\.tell=lower needs search\.seeds of at least 2, not 1"),
        ({"confidence": 0.5}, r"search\.confidence is 0\.5; give a share above 0\.5"),
    ],
)
def test_settings_of_a_search_have_ranges(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        SearchConfig(**options)


def test_one_name_is_a_list_of_one() -> None:
    assert objective_names("auto") == objective_names(None) == ("auto",)
    assert objective_names(["a", "b"]) == ("a", "b")
    with pytest.raises(ConfigError, match="objective is 3; give the name of a metric"):
        objective_names(3)


def test_the_lower_end_by_a_table_of_students_distribution() -> None:
    values = [[0.5, 10.0], [0.7, 14.0], [0.6, 12.0]]
    assert pooled(values, ["maximize", "minimize"]) == pytest.approx([0.6, 12.0])
    # t of 2 degrees of freedom at 0.95 is 2.920 (any printed table); s is 0.1 and 2.
    low, high = pooled(values, ["maximize", "minimize"], "lower", 0.95)
    assert low == pytest.approx(0.6 - 2.920 * 0.1 / math.sqrt(3), abs=1e-4)
    assert high == pytest.approx(12 + 2.920 * 2 / math.sqrt(3), abs=1e-2)
    assert pooled([[0.5]], ["maximize"], "lower") == [0.5]


def test_distributions_keep_their_kind() -> None:
    space = read_space(PARAMS, [], {"bands": BRANCHES["bands"]}).labelled
    assert isinstance(space["bands.n (bands=pca)"], CategoricalDistribution)
    assert space["bands.explained (bands=pca)"] == FloatDistribution(0.8, 0.99)


@pytest.mark.parametrize(
    ("text", "expected", "values"),
    [
        ("choice(a,2,0.5,true)", CategoricalDistribution(["a", 2, 0.5, True]), ["a", 2, 0.5, True]),
        ("4,5", CategoricalDistribution([4, 5]), [4, 5]),
        ("range(0,10,3)", IntDistribution(0, 9, step=3), [0, 3, 6, 9]),
        ("range(10,0,-3)", IntDistribution(1, 10, step=3), [1, 4, 7, 10]),
        ("range(0.1,0.7,0.2)", FloatDistribution(0.1, 0.5, step=0.2), [0.1, 0.3, 0.5]),
        ("range(1.0,0,-0.5)", FloatDistribution(0.5, 1.0, step=0.5), [0.5, 1.0]),
        # Steps below the floats' resolution cannot be drawn; their values can.
        ("range(1e16,10000000000000002.0,1)", CategoricalDistribution([1e16, 1e16]), None),
        ("interval(0,5)", FloatDistribution(0.0, 5.0), None),
        ("int(interval(0,2))", IntDistribution(0, 2), [0, 1, 2]),
        ("tag(log,interval(0.01,1))", FloatDistribution(0.01, 1.0, log=True), None),
        ("int(tag(log,interval(1,3)))", IntDistribution(1, 3, log=True), [1, 2, 3]),
    ],
)
def test_what_each_word_of_the_grammar_draws_from(
    text: str, expected: Distribution, values: list[Any] | None
) -> None:
    space = read_space({"x": text}, [], {})
    assert space.labelled == {"x": expected}
    if values is not None:
        assert list(choices(expected) or ()) == values
        assert [point["x"] for point in space.points()] == values
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    assert space.suggest(trial) == [f"x={trial.params['x']}"]
    assert trial.distributions == {"x": expected}


@pytest.mark.parametrize("text", ["range(3,3)", "range(0.0,3,0)", "range(0,3,0)", "range(1.0,0.5)"])
def test_a_range_without_values_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x=range\(.*\) is a range without values"):
        read_space({"x": text}, [], {})


def test_a_sweep_that_no_search_draws_from_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"x=glob\(\*\): give choice\(\.\.\.\), range"):
        read_space({"x": "glob(*)"}, [], {})
