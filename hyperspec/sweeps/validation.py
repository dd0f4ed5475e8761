"""What a sweep is going to do: every job composed and checked before the first one starts.

Composing one job takes Hydra about 0.1 s, most of it reading YAML. Here each choice of groups is
composed once, and plain values are put into copies of that, so that 100 jobs take a second.

Whether a job can be composed depends on its choice of groups and on each of its plain values, not
on what these are together: of a large grid every value beside every choice tells of all jobs, and
Hydra, which would compose ten thousand jobs for a quarter of an hour, need not.
"""

from __future__ import annotations

import copy
import itertools
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from hyperspec.config.compose import quoted, typed_words
from hyperspec.search.request import check_search
from hyperspec.search.space import (
    ROTATE,
    ROTATION,
    Branches,
    branches_of,
    jobs_per_trial,
    num_seeds,
    num_trials,
    rotations,
)
from hyperspec.sweeps.subdir import check_subdirs
from hyperspec.utils.errors import HyperspecError

Check = Callable[[DictConfig], object]
Job = tuple[str, ...]

MAX_CHECKED = 300  # jobs that are composed; of a larger grid each value once, and a sample
MAX_CHOICES = 1000  # jobs of a larger grid that are composed so that none of the others need be
_SHOWN = 10  # problems that are listed


@dataclass(frozen=True)
class Axis:
    """One override of the sweep: a word per value; a fixed override has one."""

    key: str
    words: Job
    whole: bool
    """Whether the words are all of its values, not the ends of a range."""
    group: bool
    """Whether it chooses an option of a config group."""
    plain: bool
    """Whether it sets an existing value, without ``+``, ``~`` or a package."""

    @property
    def late(self) -> bool:
        """Whether its values are put into what was composed without them."""
        return self.plain and not self.group and len(self.words) > 1

    @property
    def values(self) -> list[str]:
        """The values as they are typed."""
        return [word.partition("=")[2] for word in self.words]

    @property
    def shown(self) -> str:
        """The values in words: all, or the ends of the range."""
        return (", " if self.whole else " to ").join(self.values)


@dataclass(frozen=True)
class Problem:
    """A reason why jobs cannot run."""

    message: str
    overrides: Job
    """Of the first such job, without what all jobs share."""
    num_jobs: int


@dataclass(frozen=True)
class Plan:
    """The jobs of a sweep, checked."""

    axes: tuple[Axis, ...]
    num_jobs: int
    num_checked: int
    problems: tuple[Problem, ...]
    told: tuple[str, ...] = ()
    """What else there is to say of a search."""
    is_search: bool = False
    composable: bool = False
    """Whether it is known of all jobs that they can be composed; not of those of a search."""

    @property
    def varied(self) -> list[Axis]:
        """The axes with several values."""
        return [axis for axis in self.axes if len(axis.words) > 1 or not axis.whole]

    @property
    def text(self) -> str:
        """What the sweep is about to run, in a few lines."""
        lines = [f"sweep: {self.num_jobs} job{'s' * (self.num_jobs != 1)}"]
        lines += [f"  {axis.key}: {axis.shown}" for axis in self.varied]
        lines += [f"  {line}" for line in self.told]
        if self.num_checked < self.num_jobs:
            lines.append(f"  checked: {self.num_checked} jobs, every value at least once")
        return "\n".join(lines)

    @property
    def complaint(self) -> str:
        """All problems in one text; empty without problems."""
        if not self.problems:
            return ""
        bad = sum(problem.num_jobs for problem in self.problems)
        lines = [f"{bad} of {self.num_checked} checked jobs cannot run, so that none is started:"]
        for problem in self.problems[:_SHOWN]:
            more = f" and {problem.num_jobs - 1} more" if problem.num_jobs > 1 else ""
            lines.append(f"  {' '.join(problem.overrides)}{more}: {problem.message}")
        if len(self.problems) > _SHOWN:
            lines.append(f"  and {len(self.problems) - _SHOWN} other problems")
        return "\n".join(lines)


def add_rotations(config: DictConfig) -> None:
    """Make the rotations of ``data.split.rotate`` an axis of a grid, inside of Hydra.

    They are put among the words of the command, so that plan, folder, jobs and report have them as
    if they had been typed. A search runs them within each trial.
    """
    turns = rotations(config)
    if not turns or num_trials(config) is not None:
        return
    with read_write(config.hydra):
        word = f"{ROTATION}={','.join(map(str, turns))}"
        config.hydra.overrides.task = [*typed_words(config), word]


def make_plan(config: DictConfig, check: Check, limit: int = MAX_CHECKED) -> Plan:
    """Compose and check the jobs of a multirun, inside of Hydra.

    ``check`` raises a HyperspecError when a job's config is wrong. At most ``limit`` jobs are
    composed: of a larger grid, and of a search, each value is checked once beside the first values
    of the others, and a grid is filled up by a seeded sample.
    """
    loader = GlobalHydra.instance().config_loader()
    axes = tuple(_axes(config, loader))
    size = math.prod(len(axis.words) for axis in axes)
    check_search(config)
    _check_rotate(axes)
    _check_commas(axes)
    trials = num_trials(config)
    seen: dict[str, list[Job]] = {}
    composed = list[Job]()
    choices = _each_choice(axes) if trials is None and size > limit else []
    most = max(limit, len(choices))
    for way in _ways(axes, branches_of(config), loader):
        jobs = _each_value_once(way) if trials is not None else _grid(way, size, limit, choices)
        composer = _Composer(loader, config, way)
        for job in jobs[: max(0, most - len(composed))]:
            composed.append(job)
            if (problem := composer.problem(job, check)) is not None:
                seen.setdefault(problem, []).append(job)
    if not seen:
        check_subdirs(config, [*composed, *_repeats(config, composed)], loader)
    fixed = {axis.words[0] for axis in axes if len(axis.words) == 1}
    problems = tuple(
        Problem(message, tuple(word for word in bad[0] if word not in fixed) or bad[0], len(bad))
        for message, bad in seen.items()
    )
    if trials is None:
        known = bool(choices) or len(composed) == size
        return Plan(axes, size, len(composed), problems, composable=known)
    each = {"seeds": num_seeds(config), "rotations": len(rotations(config))}
    counts = [f"{count} {name}" for name, count in each.items() if count > 1]
    told: tuple[str, ...] = (
        (f"{trials} trial{'s' * (trials != 1)} of {' x '.join(counts)}",) if counts else ()
    )
    told += tuple(
        f"{axis.key} with {key}={value}: {axis.shown}"
        for key, options in branches_of(config).items()
        for value, params in options.items()
        for axis in read_axes(_words(params), loader)
    )
    return Plan(axes, trials * jobs_per_trial(config), len(composed), problems, told, True)


def _repeats(config: DictConfig, jobs: Sequence[Job]) -> Iterator[Job]:
    """Return jobs that a trial of a search runs beside its first."""
    if num_trials(config) is not None and jobs:
        yield from ((*jobs[0], f"seed={number}") for number in range(-1, -num_seeds(config), -1))
        yield from ((*jobs[0], f"{ROTATION}={turn}") for turn in rotations(config)[1:])


def _check_rotate(axes: Sequence[Axis]) -> None:
    """Refuse several numbers of parts: their rotations are not the same."""
    for axis in axes:
        if axis.key == ROTATE and (len(axis.words) > 1 or not axis.whole):
            raise HyperspecError(
                f"{ROTATE} has several values ({axis.shown}); a sweep has one, and runs all of its "
                "rotations. Run one sweep for each; `hyperspec report` takes several."
            )


def _check_commas(axes: Sequence[Axis]) -> None:
    """Refuse a file's name with a comma that was taken for several values."""
    for axis in axes:
        names = [] if len(axis.words) == 1 else [",".join(axis.values), ", ".join(axis.values)]
        for name in names:
            if os.path.exists(name):  # pathlib raises where a list is too long for a name
                raise HyperspecError(
                    f"{axis.key} has {len(axis.words)} values ({axis.shown}), but there is a file "
                    f"{name}: Hydra takes a comma for the end of a value. Quote the name for Hydra "
                    f"and for the shell: {quoted(axis.key, name)}"
                )


def count_jobs(config: DictConfig) -> int:
    """Return how many jobs a multirun has in the end, inside of Hydra."""
    trials = num_trials(config)
    if trials is not None:
        return trials * jobs_per_trial(config)
    loader = GlobalHydra.instance().config_loader()
    return math.prod(len(axis.words) for axis in _axes(config, loader))


def _ways(
    axes: tuple[Axis, ...], branches: Branches, loader: ConfigLoader
) -> Iterator[tuple[Axis, ...]]:
    """Return the axes of each way through the branches of a search."""
    for place, axis in enumerate(axes):
        if axis.key in branches:
            left = {key: options for key, options in branches.items() if key != axis.key}
            for word, value in zip(axis.words, axis.values, strict=True):
                taken = replace(axis, words=(word,), whole=True)
                opened = read_axes(_words(branches[axis.key].get(value, {})), loader)
                along = (*axes[:place], taken, *axes[place + 1 :], *opened)
                yield from _ways(along, left, loader)
            return
    yield axes


def _axes(config: DictConfig, loader: ConfigLoader) -> Iterator[Axis]:
    """Read the sweeper's parameters and the command line as the basic sweeper does."""
    words = _words(OmegaConf.select(config, "hydra.sweeper.params") or {})
    words += typed_words(config)
    if num_trials(config) is not None and (turns := rotations(config)):
        words.append(f"{ROTATION}={','.join(map(str, turns))}")
    yield from read_axes(words, loader)


def _words(params: Mapping[str, str] | DictConfig) -> list[str]:
    return [f"{key!s}={value}" for key, value in params.items()]


def read_axes(words: Sequence[str], loader: ConfigLoader) -> Iterator[Axis]:
    """Read words such as ``bands.n=10,20`` into axes; of two of one key the later counts."""
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(words))
    last = {override.get_key_element(): override for override in parsed}
    for key, override in last.items():
        values, whole = _values(override)
        added = override.is_add() or override.is_force_add() or override.is_delete()
        yield Axis(
            key,
            tuple(f"{key}={value}" for value in values) if values else (key,),
            whole,
            bool(loader.get_group_options(override.key_or_group)),
            not added and override.package is None,
        )


def _values(override: Override) -> tuple[list[str], bool]:
    """Return the values of an override as text, and whether they are all."""
    if override.is_delete() and override.value() is None:
        return [], True
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()], True
    if override.is_discrete_sweep():
        return [str(value) for value in override.sweep_string_iterator()], True
    sweep = override.value()
    ends = [sweep.start, sweep.end]  # type: ignore[union-attr]  # an interval has both
    return [f"{end:g}" for end in ends], False


def _each_value_once(axes: Sequence[Axis]) -> list[Job]:
    first = [axis.words[0] for axis in axes]
    jobs = [tuple(first)]
    for place, axis in enumerate(axes):
        jobs += [(*first[:place], word, *first[place + 1 :]) for word in axis.words[1:]]
    return jobs


def _each_choice(axes: Sequence[Axis]) -> list[Job]:
    """Return every value beside every choice of groups; nothing where these are too many."""
    values = 1 + sum(len(axis.words) - 1 for axis in axes if axis.late)
    if values * math.prod(len(axis.words) for axis in axes if not axis.late) > MAX_CHOICES:
        return []
    chosen = [axis.words[:1] if axis.late else axis.words for axis in axes]
    return [
        made
        for choice in itertools.product(*chosen)
        for made in _each_value_once(
            [
                axis if axis.late else replace(axis, words=(word,))
                for axis, word in zip(axes, choice, strict=True)
            ]
        )
    ]


def _grid(axes: Sequence[Axis], size: int, limit: int, choices: Sequence[Job]) -> list[Job]:
    if size <= limit:
        return list(itertools.product(*(axis.words for axis in axes)))
    jobs = dict.fromkeys([*_each_value_once(axes), *choices])
    draw = random.Random(0)
    while len(jobs) < limit:
        jobs[tuple(draw.choice(axis.words) for axis in axes)] = None
    return list(jobs)


class _Composer:
    """Composes jobs; those that choose the same groups share one composition."""

    def __init__(self, loader: ConfigLoader, config: DictConfig, axes: Sequence[Axis]) -> None:
        self._loader, self._config = loader, config
        self._late = [axis.late for axis in axes]
        self._parser = OverridesParser.create(config_loader=loader)
        self._known: dict[Job, DictConfig | str] = {}
        self._copies: dict[Job, DictConfig] = {}

    def problem(self, job: Job, check: Check) -> str | None:
        """Return why a job cannot run, or None."""
        early = tuple(w for w, late in zip(job, self._late, strict=True) if not late)
        if early not in self._known:
            self._known[early] = self._compose(early)
        base = self._known[early]
        if isinstance(base, str):
            return base
        try:
            late_words = [w for w, late in zip(job, self._late, strict=True) if late]
            overrides = self._parser.parse_overrides(late_words)
            # Each job sets every key of these anew, so that one copy serves all; not so a dict,
            # which leaves behind what the next one lacks.
            if early not in self._copies or any(isinstance(o.value(), dict) for o in overrides):
                self._copies[early] = copy.deepcopy(base)
            made = self._copies[early]
            for override in overrides:
                OmegaConf.update(made, override.key_or_group, override.value(), merge=True)
            check(made)
        except HyperspecError as error:
            return str(error)
        except (HydraException, OmegaConfBaseException) as error:
            return _one_line(error)
        return None

    def _compose(self, words: Job) -> DictConfig | str:
        try:
            made = self._loader.load_sweep_config(self._config, list(words))
        except (HydraException, OmegaConfBaseException) as error:
            return _one_line(error)
        with open_dict(made):
            del made["hydra"]
        OmegaConf.set_struct(made, True)
        return made


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    cause = error.__cause__
    if cause is not None and str(cause) not in text:
        text += " " + " ".join(str(cause).split())
    return text
