"""The sampler of one draw.

A fresh sampler for each trial, seeded by the trials that the study has already, makes a search a
function of its study: one that is stopped and started again goes on as if it had never stopped, and
controllers side by side do not repeat each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from hydra.utils import instantiate
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GridSampler, RandomSampler

from hyperspec.search.space import SearchSpace, choices
from hyperspec.utils.errors import ConfigError

TRUSTED = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")


class Grid(GridSampler):
    """A grid that does not stop Optuna's own loop at its last point: there is none here."""

    def after_trial(self, *args: Any, **words: Any) -> None:
        """Do nothing; the search counts its trials itself."""


def build_sampler(config: Mapping[str, Any], space: SearchSpace, drawn: int) -> BaseSampler:
    """Return the sampler of ``hydra.sweeper`` for the next trial of a study that has some.

    Raises:
        ConfigError: If an option is wrong, or a grid meets a range without steps.
    """
    options = dict(config)
    target, seed = str(options.get("_target_", "")), options.get("seed")
    own = None if seed is None else int(seed) + drawn
    given: dict[str, Any] = {}
    if target.endswith("QMCSampler"):
        # The sequence is one for all its points; what it does not cover is drawn anew each time.
        options = {**options, "_partial_": True}
        given = {"independent_sampler": RandomSampler(seed=own)}
    elif not target.endswith("GridSampler"):  # its seed shuffles the points, once and for all
        options["seed"] = own
    if space.branches and options.get("multivariate"):
        options["group"] = True  # models each set of keys that occur together
    try:
        with warnings.catch_warnings():
            # Some samplers and options may change in a later Optuna; they are chosen knowingly.
            warnings.simplefilter("ignore", ExperimentalWarning)
            made = instantiate(options, _execution_whitelist_=TRUSTED)
            if given:
                made = made(**given)
        if isinstance(made, partial):
            points = {name: choices(d) for name, d in space.always.items()}
            if None in points.values():
                raise ValueError("GridSampler only supports discrete distributions.")
            made = Grid(cast(dict[str, Sequence[Any]], points), seed=seed)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"hydra.sweeper.sampler: {error}") from error
    return cast(BaseSampler, made)
