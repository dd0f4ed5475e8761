"""What a multirun's config says of its search, read without Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from omegaconf import DictConfig, OmegaConf

from hyperspec.utils.errors import ConfigError

Branches = Mapping[str, Mapping[str, Mapping[str, str]]]


def num_trials(config: DictConfig) -> int | None:
    """Return the trials of a search, or None of a grid."""
    found = OmegaConf.select(config, "hydra.sweeper.n_trials")
    return None if found is None else int(found)


def num_seeds(config: DictConfig) -> int:
    """Return the jobs of one trial."""
    return int(OmegaConf.select(config, "search.seeds") or 1)


def branches_of(config: DictConfig) -> Branches:
    """Return ``search.branches``."""
    found = OmegaConf.select(config, "search.branches")
    plain = {} if found is None else OmegaConf.to_container(found, resolve=True)
    return cast(Branches, plain)


def check_search(config: DictConfig) -> None:
    """Check a search as a whole; a grid must not ask for what a search alone does.

    Raises:
        ConfigError: If parts of it contradict each other, or no search is there to read them.
    """
    if OmegaConf.select(config, "hydra.sweeper.pruner") is not None:
        # Imported here: Optuna takes a second, and a grid needs none.
        from hyperspec.search.request import read_request

        words = [str(word) for word in config.hydra.overrides.task]
        read_request(config, config.hydra.sweeper, words)
        return
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
