"""What a search draws from: ranges that every trial has, and those that a choice brings along.

A branch such as ``{bands: {pca: {bands.explained: interval(0.8,0.99)}}}`` is drawn in trials whose
``bands`` is ``pca`` alone. In the study its parameter is named ``bands.explained (bands=pca)``, so
that branches may give one key different ranges.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.errors import HydraException
from hydra_plugins.hydra_optuna_sweeper._impl import (
    OptunaSweeperImpl,
    create_params_from_overrides,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from hyperspec.search.options import Branches
from hyperspec.tracking.names import as_text
from hyperspec.utils.errors import ConfigError

Space = dict[str, BaseDistribution]


@dataclass(frozen=True)
class Branch:
    """Parameters of the trials in which ``key`` is ``value``."""

    key: str
    value: str
    space: Space

    def label(self, name: str) -> str:
        """Return the name of a parameter in the study."""
        return f"{name} ({self.key}={self.value})"


@dataclass(frozen=True)
class SearchSpace:
    """Ranges, branches, and what is the same in all trials."""

    always: Space
    branches: tuple[Branch, ...]
    fixed: Mapping[str, Any]
    deletions: Sequence[str]

    @property
    def labelled(self) -> Space:
        """All parameters by their names in the study."""
        found = dict(self.always)
        for branch in self.branches:
            found |= {branch.label(name): d for name, d in branch.space.items()}
        return found

    @property
    def size(self) -> float:
        """Number of different trials, infinite for ranges; branches are not counted."""
        return math.inf if self.branches else math.prod(map(_size, self.always.values()))

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield all points of a space of finite :attr:`size`."""
        choices = [OptunaSweeperImpl._to_grid_sampler_choices(d) for d in self.always.values()]
        for values in itertools.product(*choices):
            yield dict(zip(self.always, values, strict=True))

    def suggest(self, trial: Trial, extend: Callable[[Trial], object] | None = None) -> list[str]:
        """Draw a trial's values; return its overrides.

        Args:
            trial: The trial to draw for.
            extend: Draws more of them (``hydra.sweeper.custom_search_space``).
        """
        drawn = {name: trial._suggest(name, d) for name, d in self.always.items()}
        closed = list(self.branches)
        # What a branch draws may open another one.
        while opened := [b for b in closed if self._is_open(b, drawn)]:
            for branch in opened:
                for name, distribution in branch.space.items():
                    drawn[name] = trial._suggest(branch.label(name), distribution)
                closed.remove(branch)
        if extend is not None:
            known = set(self.labelled)
            extend(trial)
            drawn |= {name: v for name, v in trial.params.items() if name not in known}
        words = [f"{name}={value}" for name, value in {**drawn, **self.fixed}.items()]
        return [*words, *self.deletions]

    def _is_open(self, branch: Branch, drawn: Mapping[str, Any]) -> bool:
        value = drawn.get(branch.key, self.fixed.get(branch.key))
        return value is not None and as_text(value) == branch.value


def read_space(params: Mapping[str, str], arguments: Sequence[str], given: Branches) -> SearchSpace:
    """Read a space from the sweeper's parameters, the command line and ``search.branches``.

    Args:
        params: ``hydra.sweeper.params``.
        arguments: Overrides of the command line.
        given: ``search.branches``.

    Raises:
        ConfigError: If a key is both searched and fixed (every trial would be alike in it), or a
            branch hangs on nothing that is searched or chosen.
    """
    listed = [f"{key}={value}" for key, value in params.items()]
    searched, _, _ = create_params_from_overrides(listed)
    always, fixed, deletions = create_params_from_overrides([*listed, *arguments])
    both = sorted(set(fixed) & set(searched))
    if both:
        raise ConfigError(
            f"{both[0]}={fixed[both[0]]} is fixed on the command line and searched by "
            f"hydra.sweeper.params ({searched[both[0]]}): every trial would be "
            "the same in it. Drop one of the two."
        )
    branches = tuple(_read_branches(given))
    space = SearchSpace(always, branches, fixed, deletions)
    _check_branches(space)
    return space


def _read_branches(given: Branches) -> Iterator[Branch]:
    for key, options in given.items():
        for value, params in options.items():
            place = f"search.branches.{key}.{value}"
            words = [f"{name}={text}" for name, text in params.items()]
            try:
                space, alike, deletions = create_params_from_overrides(words)
            except HydraException as error:
                raise ConfigError(f"{place}: {' '.join(str(error).split())}") from error
            if alike or deletions:
                name = next(iter(alike), "".join(deletions))
                raise ConfigError(
                    f"{place} gives {name} one value. Give a range, for example choice(10,20) or "
                    "interval(0.8,0.99); a value that never changes belongs into the config."
                )
            yield Branch(str(key), str(value), space)


def _check_branches(space: SearchSpace) -> None:
    """Refuse branches that no trial can reach, and keys that are drawn or fixed elsewhere.

    Raises:
        ConfigError: Naming the branch.
    """
    drawn = {**space.always}
    for branch in space.branches:
        drawn |= branch.space
    for branch in space.branches:
        place = f"search.branches.{branch.key}.{branch.value}"
        for name in branch.space:
            if name in space.fixed or name in space.always:
                where = "fixed" if name in space.fixed else "searched in all trials"
                raise ConfigError(f"{place} draws {name}, which is {where} too. Drop one of them.")
        if branch.key in space.fixed:
            continue
        if branch.key not in drawn:
            near = difflib.get_close_matches(branch.key, list(drawn), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"{place} hangs on {branch.key}, which is not searched.{hint} Searched are "
                f"{', '.join(sorted(drawn)) or 'none'}."
            )
        distribution = drawn[branch.key]
        if isinstance(distribution, CategoricalDistribution):
            values = [as_text(choice) for choice in distribution.choices]
            if branch.value not in values:
                near = difflib.get_close_matches(branch.value, values, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise ConfigError(
                    f"{place}: {branch.key} is never {branch.value}.{hint} Its values are "
                    f"{', '.join(values)}."
                )


def _size(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    if isinstance(distribution, FloatDistribution) and distribution.step is not None:
        return round((distribution.high - distribution.low) / distribution.step) + 1
    return math.inf
