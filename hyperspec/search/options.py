"""What a multirun's config says of its search, read without Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from omegaconf import DictConfig, OmegaConf

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
