"""What a search draws from: ranges that every trial has, and those that a choice brings along.

A branch such as ``{bands: {pca: {bands.explained: interval(0.8,0.99)}}}`` is drawn in trials whose
``bands`` is ``pca`` alone. In the study its parameter is named ``bands.explained (bands=pca)``, so
that branches may give one key different ranges.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    FloatRange,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial, FixedTrial

from hyperspec.config.compose import typed_words
from hyperspec.tracking.names import as_text
from hyperspec.utils.errors import ConfigError

Branches = Mapping[str, Mapping[str, Mapping[str, str]]]
ROTATE, ROTATION = "data.split.rotate", "data.split.rotation"


def num_trials(config: DictConfig) -> int | None:
    """Return the trials of a search, or None of a grid."""
    found = OmegaConf.select(config, "hydra.sweeper.n_trials")
    return None if found is None else int(found)


def num_seeds(config: DictConfig) -> int:
    """Return the seeds of one trial."""
    return int(OmegaConf.select(config, "search.seeds") or 1)


def rotations(config: DictConfig) -> tuple[int, ...]:
    """Return the rotations that a multirun adds by itself: none when parts do not take turns.

    None either where the config, the sweeper's parameters or the command line give some.
    """
    count = OmegaConf.select(config, ROTATE)
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    typed = typed_words(config)
    words = [str(word).partition("=")[0].lstrip("+") for word in typed]
    chosen = OmegaConf.select(config, ROTATION) is not None
    if count is None or chosen or ROTATION in {*params, *words}:
        return ()
    return tuple(range(int(count)))


def jobs_per_trial(config: DictConfig) -> int:
    """Return the jobs of one trial: each seed in each rotation."""
    return num_seeds(config) * max(len(rotations(config)), 1)


def branches_of(config: DictConfig) -> Branches:
    """Return ``search.branches``."""
    found = OmegaConf.select(config, "search.branches")
    plain = {} if found is None else OmegaConf.to_container(found, resolve=True)
    return cast(Branches, plain)


Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
Space = dict[str, Distribution]


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
        if self.branches:
            return math.inf
        listed = map(choices, self.always.values())
        return math.prod(math.inf if values is None else len(values) for values in listed)

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield all points of a space of finite :attr:`size`."""
        for values in itertools.product(*(choices(d) or () for d in self.always.values())):
            yield dict(zip(self.always, values, strict=True))

    def examples(self, whole: Callable[[str], bool]) -> Iterator[tuple[str, list[str]]]:
        """Yield the words of a trial of first values, and one for each other choice of some keys.

        ``whole`` says of a key whether all of its choices are wanted. Beside the words stands that
        choice, such as ``bands=pca``, empty for the first trial.
        """
        first = {name: _lowest(d) for name, d in self.labelled.items()}
        yield "", self.suggest(FixedTrial(first))
        for name, distribution in self.always.items():
            if isinstance(distribution, CategoricalDistribution) and whole(name):
                for value in distribution.choices[1:]:
                    words = self.suggest(FixedTrial({**first, name: value}))
                    yield f"{name}={as_text(value)}", words

    def suggest(
        self, trial: BaseTrial, extend: Callable[[BaseTrial], object] | None = None
    ) -> list[str]:
        """Draw a trial's values; return its overrides.

        ``extend`` draws more of them (``hydra.sweeper.custom_search_space``).
        """
        drawn = {name: _suggest(trial, name, d) for name, d in self.always.items()}
        closed = list(self.branches)
        # What a branch draws may open another one.
        while opened := [b for b in closed if self._is_open(b, drawn)]:
            for branch in opened:
                for name, distribution in branch.space.items():
                    drawn[name] = _suggest(trial, branch.label(name), distribution)
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
    """Read a space from ``hydra.sweeper.params``, the command line and ``search.branches``.

    Raises:
        ConfigError: If a key is both searched and fixed (every trial would be alike in it), or a
            branch hangs on nothing that is searched or chosen.
    """
    listed = [f"{key}={value}" for key, value in params.items()]
    searched, _, _ = _read_words(listed)
    always, fixed, deletions = _read_words([*listed, *arguments])
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
                space, alike, deletions = _read_words(words)
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
    """Refuse branches that no trial can reach, and keys that are drawn or fixed elsewhere."""
    drawn = {**space.always, **{k: v for b in space.branches for k, v in b.space.items()}}
    for branch in space.branches:
        place = f"search.branches.{branch.key}.{branch.value}"
        for name in branch.space:
            if name in space.fixed or name in space.always:
                where = "fixed" if name in space.fixed else "searched in all trials"
                raise ConfigError(f"{place} draws {name}, which is {where} too. Drop one of them.")
        if branch.key in space.fixed:
            continue
        if branch.key not in drawn:
            raise ConfigError(
                f"{place} hangs on {branch.key}, which is not searched.{_hint(branch.key, drawn)} "
                f"Searched are {', '.join(sorted(drawn)) or 'none'}."
            )
        distribution = drawn[branch.key]
        if isinstance(distribution, CategoricalDistribution):
            values = [as_text(choice) for choice in distribution.choices]
            if branch.value not in values:
                raise ConfigError(
                    f"{place}: {branch.key} is never {branch.value}.{_hint(branch.value, values)} "
                    f"Its values are {', '.join(values)}."
                )


def _hint(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def choices(distribution: Distribution) -> Sequence[Any] | None:
    """Return all values of a distribution, or None of a range without steps."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    return None if step is None else [*FloatRange(low, high, step), high]


def _lowest(distribution: Distribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low


def _suggest(trial: BaseTrial, name: str, distribution: Distribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    low, high, log = distribution.low, distribution.high, distribution.log
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, int(low), int(high), step=distribution.step, log=log)
    return trial.suggest_float(name, low, high, step=distribution.step, log=log)


def _read_words(words: Sequence[str]) -> tuple[Space, dict[str, Any], list[str]]:
    """Return what overrides draw, what they fix, and those that delete a key."""
    space: Space = {}
    fixed: dict[str, Any] = {}
    deletions: list[str] = []
    for override in OverridesParser.create().parse_overrides(list(words)):
        name = override.get_key_element()
        if override.is_delete():
            deletions.append(str(override.input_line))
        elif override.is_sweep_override():
            space[name] = _distribution(override)
        else:
            fixed[name] = override.get_value_element_as_str()
    return space, fixed, deletions


def _distribution(override: Override) -> Distribution:
    """Return what an override draws from, as the stock Optuna sweeper reads it."""
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        ends: tuple[Any, Any] = (sweep.start, sweep.end)
        whole = all(isinstance(end, int) for end in ends)
        kind = IntDistribution if whole else FloatDistribution
        return kind(*ends, log="log" in sweep.tags)
    if not isinstance(sweep, ChoiceSweep | RangeSweep):
        raise ConfigError(f"{override.input_line}: give choice(...), range(...) or interval(...).")
    if isinstance(sweep, RangeSweep) and not (sweep.shuffle or sweep.transformers):
        try:
            stepped = _stepped(sweep.range())
        except (IndexError, ValueError, ZeroDivisionError):
            raise ConfigError(f"{override.input_line} is a range without values.") from None
        if stepped is not None:
            return stepped
    listed: Any = list(override.sweep_iterator(transformer=Transformer.encode))
    return CategoricalDistribution(listed)


def _stepped(values: range | FloatRange) -> Distribution | None:
    """Return the distribution of a range, or None when its ends or steps are no exact floats.

    Without values it raises an IndexError or a ZeroDivisionError.
    """
    if isinstance(values, range):
        first, last = sorted((values[0], values[-1]))
        return IntDistribution(first, last, step=abs(values.step))
    start, stop, step = (Decimal(str(v)) for v in (values.start, values.stop, values.step))
    count = math.ceil(Fraction(stop - start) / Fraction(step))
    if count < 1:
        raise IndexError("no values")
    # Hydra's range ends before its stop, and Optuna's has both ends.
    exact = (*sorted((start, start + (count - 1) * step)), abs(step))
    low, high, width = map(float, exact)
    as_typed = tuple(Decimal(str(value)) for value in (low, high, width)) == exact
    if as_typed and (low == high or width >= max(math.ulp(low), math.ulp(high))):
        return FloatDistribution(low, high, step=width)
    return None
