"""Which settings of a grid a race runs to the end.

A race trains every setting on the first few of its seeds and rotations and goes on with those that
the answer depends on. It looks at the validation objective alone, so that what a report tests
afterwards, on test specimens, was not chosen by them, and its tests and intervals hold as they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from hyperspec.config.compose import typed_words
from hyperspec.evaluation.objective import AUTO, objective_names
from hyperspec.search.request import bare
from hyperspec.search.space import ROTATION
from hyperspec.sweeps.validation import Axis, read_axes
from hyperspec.tracking.record import to_number
from hyperspec.utils.errors import ConfigError

Floats = NDArray[np.float64]
LEVEL = 0.05  # how often a setting that is as good as the best is left out, at most
_BASELINES = ("uniform", "random")  # bands that were not chosen, beside those that were
_WHOLE = "full"


@dataclass(frozen=True)
class Setting:
    """One setting of a grid.

    Args:
        strategy: Its ``bands``; empty where the grid has one strategy.
        count: Its number of bands; NaN where the grid does not vary it.
        others: What else the grid varies, as words.
    """

    strategy: str
    count: float
    others: tuple[str, ...]

    @property
    def curve(self) -> tuple[str, ...]:
        """What it shares with the same strategy at other numbers of bands."""
        return self.strategy, *self.others


def within_reach(scores: Floats, margin: float) -> NDArray[np.bool_]:
    """Say which settings may still come within a margin of the best one.

    The scores of the same seed and rotation are compared; what seeds and rotations do to single
    settings is pooled over all of them, so that two trainings of each suffice. It is largest in the
    middle between guessing and certainty, which leaves more settings of a plateau in than need be.

    Args:
        scores: ``(M, U)`` of M settings on U >= 2 trainings, the higher the better; NaN of one that
            failed, whose setting is left out.
        margin: Difference that does not matter, at least 0.

    Returns:
        ``(M,)``.

    Source:
        Races: Maron & Moore (1994), Birattari et al. (2002). The residual is that of a randomised
        block design (Montgomery, Design and Analysis of Experiments, ch. 4), the comparison with
        the best Hsu's (1984), by Bonferroni's inequality: any of the others may be the best.
    """
    from scipy.special import stdtrit

    sound: NDArray[np.bool_] = np.asarray(~np.isnan(scores).any(1))
    ran = scores[sound]
    if len(ran) < 2:
        return sound
    left = ran - ran.mean(1, keepdims=True) - ran.mean(0) + ran.mean()
    degrees = (ran.shape[0] - 1) * (ran.shape[1] - 1)
    error = math.sqrt(2 * (left**2).sum() / degrees / ran.shape[1])
    behind = ran.mean(1).max() - ran.mean(1)
    reach = sound.copy()
    reach[sound] = behind <= margin + stdtrit(degrees, 1 - LEVEL / (len(ran) - 1)) * error
    return reach


def finalists(settings: Sequence[Setting], scores: Floats, margin: float) -> tuple[int, ...]:
    """Return the places of the settings that a race runs to the end.

    Where the number of bands varies, the question is how few do as well as the most. The curve that
    comes within the margin of the best with the fewest bands is run from its most bands down to the
    fewest that may do as well, as the report's sequence of tests needs it, with ``full`` beside it.
    Of the fewest, ``uniform`` and ``random`` are run too where they are within reach, unless it is
    one of them: a strategy has chosen something when it beats both. In other grids it is all
    settings within reach.

    Args:
        settings: M settings.
        scores: See :func:`within_reach`.
        margin: See there.
    """
    reach = within_reach(scores, margin)
    means = np.nan_to_num(scores.mean(1), nan=-np.inf)
    curves: dict[tuple[str, ...], list[int]] = {}
    for i in sorted(range(len(settings)), key=lambda i: settings[i].count):
        if settings[i].strategy != _WHOLE and settings[i].count > 0:
            curves.setdefault(settings[i].curve, []).append(i)
    if not reach.any() or max(map(len, curves.values()), default=0) < 2:
        return tuple(int(i) for i in np.flatnonzero(reach))
    close = [i for own in curves.values() for i in own if means[i] >= means.max() - margin]
    most = [own[-1] for own in curves.values()]  # where `full` alone comes close
    lead = min(close or most, key=lambda i: (settings[i].count, -means[i]))
    curve = curves[settings[lead].curve]
    place = curve.index(lead)
    fewer = itertools.takewhile(lambda i: reach[i], reversed(curve[:place]))
    found = [*(i for i in curve[place:] if np.isfinite(means[i])), *fewer]
    fewest, others = min(settings[i].count for i in found), settings[lead].others
    chosen = settings[lead].strategy not in _BASELINES
    for i, one in enumerate(settings):
        beside = one.strategy in _BASELINES and chosen and one.count == fewest and reach[i]
        if one.others == others and (one.strategy == _WHOLE or beside):
            found.append(i)
    return tuple(sorted(set(found)))


def training_order(seeds: int, rotations: int) -> list[tuple[int, int]]:
    """Return places of seed and rotation so that the first trainings differ in both."""
    places = itertools.product(range(seeds), range(rotations))
    wide = max(seeds, rotations)
    return sorted(places, key=lambda place: ((place[1] - place[0]) % wide, place[0]))


@dataclass(frozen=True)
class RaceGrid:
    """A grid as a race runs it: settings, and the seeds and rotations that each is trained with.

    Args:
        axes: All words, in the order of a job.
        first: Trainings of each setting before the look.
    """

    axes: tuple[Axis, ...]
    first: int

    @classmethod
    def read(cls, words: Sequence[str], loader: ConfigLoader, first: int) -> RaceGrid:
        """Read the words of a multirun.

        Raises:
            ConfigError: If a race cannot be run on them.
        """
        grid = cls(tuple(read_axes(words, loader)), first)
        for axis in grid.axes:
            if not axis.whole:
                raise ConfigError(
                    f"{axis.key} is a range ({axis.shown}), and search=race runs a grid: list its "
                    "values, or take another search (hyperspec options search)."
                )
        if first < 2:
            raise ConfigError(
                f"hydra.sweeper.first is {first}; one training of each setting says nothing about "
                "how trainings differ. Give at least 2."
            )
        if len(grid.trainings) <= first:
            raise ConfigError(
                f"search=race looks after {first} trainings of each setting, and the sweep has "
                f"{len(grid.trainings)} (seeds times rotations): there is nothing to save. Give "
                "more, for example seed=0,1,2 data.split.rotate=4, or leave search=race out."
            )
        return grid

    @property
    def trainings(self) -> list[tuple[str, ...]]:
        """The words of each training, in the order of :func:`training_order`."""
        seeds, rotations = (self._words(key) for key in ("seed", ROTATION))
        return [(seeds[i], rotations[j]) for i, j in training_order(len(seeds), len(rotations))]

    @property
    def settings(self) -> list[tuple[str, ...]]:
        """The words of each setting that the grid varies."""
        return list(itertools.product(*(axis.words for axis in self._varied)))

    @property
    def early(self) -> list[list[str]]:
        """The jobs before the look, training by training."""
        turns = self.trainings[: self.first]
        return [self._job(one, turn) for turn in turns for one in self.settings]

    def late(self, places: Sequence[int]) -> list[list[str]]:
        """Return the jobs after it, of the settings that go on."""
        found, turns = self.settings, self.trainings[self.first :]
        return [self._job(found[place], turn) for place in places for turn in turns]

    def finalists(self, scores: Sequence[float], margin: float) -> tuple[int, ...]:
        """Return which settings go on, by what the early jobs reached, the higher the better."""
        table = np.reshape(np.asarray(scores, np.float64), (self.first, -1)).T
        return finalists([self._setting(words) for words in self.settings], table, margin)

    def told(self, places: Sequence[int] | None = None) -> str:
        """Say what is run: before the look, or with the settings that go on, after it."""
        many, each = len(self.settings), len(self.trainings)
        if places is None:
            early = self.first * many
            return (
                f"race: {self.first} of {each} trainings of each of {many} settings ({early} jobs),"
                " then the others of those settings that the answer depends on"
            )
        found = self.settings
        going = "; ".join(" ".join(found[place]) for place in places) or "none"
        late = len(places) * (each - self.first)
        return (
            f"race: {len(places)} of {many} settings go on, {late} job{'s' * (late != 1)}: {going}"
        )

    @property
    def _varied(self) -> list[Axis]:
        return [a for a in self.axes if len(a.words) > 1 and a.key not in ("seed", ROTATION)]

    def _words(self, key: str) -> tuple[str, ...]:
        return next((axis.words for axis in self.axes if axis.key == key), ("",))

    def _job(self, setting: tuple[str, ...], training: tuple[str, ...]) -> list[str]:
        own = dict(zip((axis.key for axis in self._varied), setting, strict=True))
        own |= dict(zip(("seed", ROTATION), training, strict=True))
        return [own.get(axis.key, axis.words[0]) for axis in self.axes]

    def _setting(self, words: tuple[str, ...]) -> Setting:
        values = {
            axis.key: word.partition("=")[2] for axis, word in zip(self._varied, words, strict=True)
        }
        strategy, count = values.pop("bands", ""), values.pop("bands.n", "nan")
        return Setting(strategy, to_number(count), tuple(values.values()))


def race_of(config: DictConfig) -> RaceGrid | None:
    """Return the race that a multirun is, inside of Hydra; None of others.

    Raises:
        ConfigError: If it cannot be run.
    """
    first = OmegaConf.select(config, "hydra.sweeper.first")
    if first is None:
        return None
    if len(objective_names(bare(OmegaConf.select(config, "objective")) or AUTO)) > 1:
        raise ConfigError(
            "objective has several metrics, and search=race goes by one: give objective=auto, or "
            "search=nsga2 for several."
        )
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    words = [*(f"{key}={value}" for key, value in params.items()), *typed_words(config)]
    return RaceGrid.read(words, GlobalHydra.instance().config_loader(), int(first))
