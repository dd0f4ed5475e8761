"""What a search is asked for, checked as a whole before its first job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from hyperspec.config.compose import typed_words
from hyperspec.config.sweep import SearchConfig
from hyperspec.evaluation.metrics import METRICS, metric_of, natural_direction, score_of
from hyperspec.evaluation.objective import AUTO, auto_candidates, objective_names
from hyperspec.search.space import (
    ROTATE,
    ROTATION,
    SearchSpace,
    branches_of,
    num_seeds,
    num_trials,
    read_space,
    rotations,
)
from hyperspec.search.trial import build_pruner
from hyperspec.utils.errors import ConfigError

_DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True)
class Request:
    """A search as it was asked for."""

    space: SearchSpace
    objectives: tuple[str, ...]
    """Names of what is optimised, as in the config."""
    directions: tuple[str, ...]
    """``maximize`` or ``minimize`` of each."""
    settings: SearchConfig
    first_seed: int
    """Seed of a trial's first job."""
    rotations: tuple[int, ...]
    """Rotations of each seed of a trial; empty leaves the config's own."""
    prunes: bool
    """Whether trials may be stopped early."""

    @property
    def told(self) -> dict[str, str]:
        """Of what and how many jobs a trial is told one value, by readable names."""
        said = {"objective": ",".join(self.objectives), "seed": str(self.first_seed)}
        said["search.seeds"] = str(self.settings.seeds)
        if self.rotations:
            said["data.split.rotation"] = ",".join(map(str, self.rotations))
        if self.settings.seeds > 1:
            said["search.tell"] = self.settings.tell
        if self.settings.tell == "lower":
            said["search.confidence"] = f"{self.settings.confidence:g}"
        return said

    def jobs(self) -> list[dict[str, int]]:
        """Return what sets the jobs of a trial apart: its seeds, and in each seed the rotations."""
        many = self.settings.seeds
        seeds = [{"seed": self.first_seed + i} for i in range(many)] if many > 1 else [{}]
        turns = [{ROTATION: turn} for turn in self.rotations] or [{}]
        return [{**seed, **turn} for seed in seeds for turn in turns]


def read_request(config: DictConfig, sweeper: Mapping[str, Any], words: Sequence[str]) -> Request:
    """Read what a search is asked for: by the multirun's config, its sweeper, the words typed.

    Raises:
        ConfigError: If parts of it contradict each other; the message names both.
    """
    given = _plain(config.get("search"))  # a program without that key has its defaults
    settings = SearchConfig(**given)
    space = read_space(_plain(sweeper.get("params")), words, settings.branches)
    if not space.labelled and sweeper.get("custom_search_space") is None:
        raise ConfigError(
            "The search has no space: hydra.sweeper.params is empty. Give ranges, for example "
            "'bands.n=choice(10,20,50)', or an experiment that has some."
        )
    objectives = _objectives(config, sweeper.get("direction"))
    evaluators = bare(OmegaConf.select(config, "evaluation.evaluators"))
    directions = _directions(sweeper.get("direction"), objectives, evaluators)
    pruner = _plain(sweeper.get("pruner"))
    build_pruner(pruner)
    prunes = pruner.get("name", "none") != "none"
    if prunes:
        _check_pruning(config, str(pruner["name"]), directions)
    drawn = {*space.always, *(name for branch in space.branches for name in branch.space)}
    if settings.seeds > 1 and "seed" in drawn:
        raise ConfigError(
            f"search.seeds={settings.seeds} runs each trial with several seeds, and seed is "
            "searched too. Take seed out of hydra.sweeper.params, or give search.seeds=1."
        )
    for key in (ROTATE, ROTATION):
        if key in drawn:
            raise ConfigError(
                f"{key} is searched, but it decides which specimens a trial is scored on, so that "
                "trials could not be compared. Take it out of the space: with "
                f"{ROTATE}=4 each trial runs all rotations and is told their mean."
            )
    sampler = str(_plain(sweeper.get("sampler")).get("_target_", ""))
    if space.branches and sampler.endswith("GridSampler"):
        raise ConfigError(
            "A grid has no branches (search.branches): its points have all keys. Run one grid for "
            "each choice, or take search=random or search=tpe."
        )
    seed = space.fixed.get("seed", config.get("seed", 0))
    turns = rotations(config)
    return Request(space, objectives, directions, settings, int(seed), turns, prunes)


def _objectives(config: DictConfig, direction: Any) -> tuple[str, ...]:
    """Return the names of what is optimised; a program without the key numbers them."""
    if "objective" in config:
        return objective_names(bare(config.get("objective")))
    given = bare(direction)
    count = len(given) if _is_list(given) else 1
    return ("objective",) if count == 1 else tuple(f"objective_{i}" for i in range(count))


def _directions(
    given: Any, objectives: Sequence[str], evaluators: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Return the direction of each objective: its own, or as given where it has none."""
    plain = bare(given)
    if plain in (None, "auto"):
        return tuple(_natural(name, evaluators) or "maximize" for name in objectives)
    ways = plain if _is_list(plain) else [plain]
    listed = [way.name if isinstance(way, Enum) else way for way in ways]
    bad = [word for word in listed if word not in _DIRECTIONS]
    if bad:
        raise ConfigError(
            f"hydra.sweeper.direction has {bad[0]!r}; choose maximize, minimize or auto, or a list "
            "with one of the first two for each objective."
        )
    if len(listed) != len(objectives):
        raise ConfigError(
            f"hydra.sweeper.direction has {len(listed)} direction(s) ({', '.join(listed)}), and "
            f"objective has {len(objectives)} metric(s) ({', '.join(objectives)}). Give one for "
            "each, or hydra.sweeper.direction=auto."
        )
    for name, way in zip(objectives, listed, strict=True):
        if _natural(name, evaluators) not in (None, way):
            better = "less" if way == "maximize" else "more"
            raise ConfigError(
                f"hydra.sweeper.direction would {way} {name}, of which {better} is better: the "
                "search would look for the worst. Leave it out, or give auto. Who means it takes "
                "the stock sweeper (hydra/sweeper=optuna), which knows no metrics."
            )
    return tuple(listed)


def _natural(name: str, evaluators: Sequence[str] | None) -> str | None:
    """Return the direction of a metric; None of one that the table does not have."""
    stand_for = auto_candidates(evaluators) if name == AUTO else [name]
    ways = {natural_direction(one) for one in stand_for if metric_of(score_of(one)).name in METRICS}
    if len(ways) > 1:
        raise ConfigError(
            f"objective is auto, which may stand for {' or '.join(stand_for)}, and these go "
            "opposite ways. Name one of them as objective=val/... ."
        )
    return next(iter(ways), None)


def _check_pruning(config: DictConfig, name: str, directions: Sequence[str]) -> None:
    """Refuse a pruner that could not work, or that would stop the best trials."""
    off = "Take hydra/sweeper/pruner=none"
    if len(directions) > 1:
        raise ConfigError(
            f"The pruner {name} stops trials by one score, and objective names {len(directions)} "
            f"metrics; Optuna prunes none of several objectives. {off}, or one objective."
        )
    if directions[0] == "minimize":
        raise ConfigError(
            f"The pruner {name} compares scores of the validation part, of which more is better, "
            f"but this search minimises. {off}, or an objective to maximise."
        )
    if OmegaConf.select(config, "evaluation.every_n_epochs") == 0:
        raise ConfigError(
            f"The pruner {name} never sees a score: evaluation.every_n_epochs is 0, which scores "
            f"at the end only. Give for example evaluation.every_n_epochs=10. {off} otherwise."
        )


def _plain(value: Any) -> dict[str, Any]:
    plain = bare(value)
    return dict(plain) if isinstance(plain, Mapping) else {}


def bare(value: Any) -> Any:
    """Return a node of a config as plain Python, and anything else as it is."""
    if isinstance(value, DictConfig | ListConfig):
        return OmegaConf.to_container(value, resolve=True)
    return value


def less_is_better(config: DictConfig) -> bool:
    """Say whether the objective, of several the first, is to be small."""
    names = objective_names(bare(OmegaConf.select(config, "objective") or AUTO))
    return natural_direction(names[0]) == "minimize"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _check_stock(config: DictConfig) -> None:
    """Refuse the stock sweeper's own direction where a metric goes the other way.

    A direction that was typed is what somebody means.
    """
    given = bare(OmegaConf.select(config, "hydra.sweeper.direction"))
    words = typed_words(config, "hydra")
    typed = any(word.startswith("hydra.sweeper.direction=") for word in words)
    if num_trials(config) is None or typed or given is None or _is_list(given):
        return
    way = given.name if isinstance(given, Enum) else str(given)
    (name, *_) = _objectives(config, given)
    if _natural(name, bare(OmegaConf.select(config, "evaluation.evaluators"))) not in (None, way):
        other = "maximize" if way == "minimize" else "minimize"
        raise ConfigError(
            f"This sweeper would {way} objective={name} by its own default: it would look for the "
            f"worst. Give hydra.sweeper.direction={other}, or a search that knows metrics, such as "
            "search=tpe."
        )


def check_search(config: DictConfig) -> None:
    """Check a search as a whole; a grid must not ask for what a search alone does.

    Raises:
        ConfigError: If parts of it contradict each other, or no search is there to read them.
    """
    if OmegaConf.select(config, "hydra.sweeper.pruner") is not None:
        read_request(config, config.hydra.sweeper, typed_words(config))
        return
    _check_stock(config)
    if num_trials(config) is not None and rotations(config):
        raise ConfigError(
            f"{ROTATE} is {OmegaConf.select(config, ROTATE)}, and this sweeper does not run the "
            "rotations of a trial. Take hydra/sweeper=hyperspec (search=tpe and the like), or "
            f"give one rotation, for example {ROTATION}=0."
        )
    if num_seeds(config) > 1:
        raise ConfigError(
            f"search.seeds is {num_seeds(config)}, which only a search reads (search=tpe and the "
            "like). In a grid give the seeds as an axis, for example seed=0,1,2."
        )
    if branches_of(config):
        raise ConfigError(
            "search.branches is read by a search alone (search=tpe and the like). A grid has the "
            "same keys in all of its jobs: run one for each choice; `hyperspec report` takes "
            "several sweeps."
        )
