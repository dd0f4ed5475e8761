"""What speaks for a choice of bands: redundancy, coverage, stability under resampling, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hyperspec.bands.base import Strategy
from hyperspec.bands.fixed import Random
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import TiedError


@dataclass(frozen=True)
class Stability:
    """Agreement of the sets that one strategy chose on several resamples.

    Args:
        value: 1 when all sets are the same, about 0 when they agree as random ones do; at least
            -1 / (M - 1).
        low: Lower end of the confidence interval.
        high: Upper end, at most 1.
        num_sets: Number of sets M.
    """

    value: float
    low: float
    high: float
    num_sets: int


def stability(sets: Sequence[Sequence[int]], num_bands: int, *, level: float = 0.95) -> Stability:
    """Measure the stability of chosen sets, corrected for chance.

    A neighbour 1 nm away counts as another band, as any other would; :func:`mean_shift_nm` tells
    how far picks move. The interval speaks of the number of sets, not of the number of specimens.

    Args:
        sets: M sets of band indices, M at least 2.
        num_bands: Number C of bands to choose from.
        level: Coverage of the interval, between 0 and 1.

    Raises:
        ValueError: If there are fewer than two sets, or a set is empty or leaves the bands.

    Source:
        Nogueira, Sechidis & Brown (2018), On the stability of feature selection algorithms, JMLR
        18: the measure is definition 4, the interval theorem 7 and corollary 9.
    """
    from scipy.stats import norm

    chosen = _indicators(sets, num_bands)
    count = len(chosen)
    frequency = chosen.mean(0)
    sizes = chosen.sum(1)
    share = frequency.mean()  # mean size over C
    chance = share * (1 - share)
    if chance == 0:  # every set holds every band
        return Stability(1.0, 1.0, 1.0, count)
    variance = frequency * (1 - frequency) * count / (count - 1)
    value = float(1 - variance.mean() / chance)
    parts = (
        (chosen * frequency).mean(1)
        - sizes * share / num_bands
        + value / 2 * (2 * sizes * share / num_bands - sizes / num_bands)
    ) / chance  # half of how the measure changes with a set's weight, but for a constant
    error = float(np.sqrt(4 / count**2 * np.sum((parts - parts.mean()) ** 2)))
    half = float(norm.ppf((1 + level) / 2)) * error
    return Stability(value, value - half, min(value + half, 1.0), count)


def mean_shift_nm(
    chosen_nm: NDArray[np.float64], resampled_nm: Sequence[NDArray[np.float64]]
) -> float:
    """Return how far, in nm, a resample's nearest pick lies from a chosen band on average.

    Chosen bands are ``(n,)``, those of each resample of any number; all in nanometres.
    """
    shifts = [np.abs(chosen_nm[:, None] - other[None]).min(1).mean() for other in resampled_nm]
    return float(np.mean(shifts))


def _indicators(sets: Sequence[Sequence[int]], num_bands: int) -> NDArray[np.float64]:
    if len(sets) < 2:
        raise ValueError(f"Stability compares two sets at least, {len(sets)} was given.")
    chosen = np.zeros((len(sets), num_bands))
    for row, indices in enumerate(sets):
        if not indices or min(indices) < 0 or max(indices) >= num_bands:
            raise ValueError(f"Set {row} is empty or leaves the bands 0 to {num_bands - 1}.")
        chosen[row, list(indices)] = 1
    return chosen


_FEWEST_RESAMPLES = 2


@dataclass
class Pick:
    """One strategy's bands with their evidence.

    Args:
        strategy: The strategy.
        selection: What it chose on the whole training part.
        seconds: Time of that choice, statistics in hand.
        redundancy: Mean absolute pairwise correlation of the chosen bands, 0 to 1; None without
            statistics.
        stability: Agreement over resamples; None when nothing was resampled, or a resample could
            not tell the bands apart.
        shift_nm: Mean distance from a chosen band to the nearest pick of a resample, nanometres.
        is_tied: Whether all bands had the same score in some resample.
    """

    strategy: Strategy
    selection: BandSelection
    seconds: float
    redundancy: float | None = None
    stability: Stability | None = None
    shift_nm: float | None = None
    is_tied: bool = False
    resampled: list[BandSelection] = field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return plain values, fit for JSON."""
        found = self.stability
        return {
            "strategy": self.selection.strategy,
            "n": len(self.selection),
            "indices": list(self.selection.indices),
            "wavelengths_nm": [round(float(nm), 4) for nm in self.selection.wavelengths_nm],
            "redundancy": self.redundancy,
            "coverage": self.selection.coverage,
            "stability": None if found is None else found.value,
            "stability_low": None if found is None else found.low,
            "stability_high": None if found is None else found.high,
            "num_resamples": 0 if found is None else found.num_sets,
            "shift_nm": self.shift_nm,
            "seconds": self.seconds,
            "params": dict(self.selection.params),
        }


def gather_evidence(
    strategies: Sequence[Strategy],
    axis: SpectralAxis,
    statistics: SpectralStatistics | None = None,
    specimens: Sequence[SpectralStatistics] = (),
    *,
    num_resamples: int = 20,
    seed: int = 0,
    step: Callable[[str], None] = lambda what: None,
) -> list[Pick]:
    """Choose bands by each strategy, on the training part and on bootstrap resamples of it.

    A resample draws as many specimens of each class as there are, with replacement, and merges
    their statistics. Strategies that look at no data are the same on each (stability 1); ``random``
    is drawn with another seed each time instead.

    Args:
        strategies: What chooses; several sizes are several strategies.
        axis: The axis to choose from.
        statistics: Statistics of the whole training part; None for strategies that need none.
        specimens: Statistics of each specimen of the training part, with its class where known.
        num_resamples: Resamples, 0 for none or at least 2.
        seed: Seed of the resampling.
        step: Called before each piece of work with its name, for progress.

    Raises:
        BandError: If a strategy cannot choose.
        ValueError: If a single resample is asked for.
    """
    if num_resamples and num_resamples < _FEWEST_RESAMPLES:
        raise ValueError("One resample has nothing to agree with: give 0, or 2 and more.")
    picks = []
    for strategy in strategies:
        step(strategy.name)
        start = time.perf_counter()
        selection = strategy.select(axis, statistics)
        picks.append(Pick(strategy, selection, time.perf_counter() - start))
        if statistics is not None:
            picks[-1].redundancy = selection.redundancy(statistics.correlation)
    if num_resamples:
        reading = [pick for pick in picks if pick.strategy.needs_statistics and specimens]
        if reading:
            for number, resample in enumerate(resamples(specimens, num_resamples, seed)):
                step(f"resample {number + 1} of {num_resamples}")
                for pick in reading:
                    try:
                        pick.resampled.append(pick.strategy.select(axis, resample))
                    except TiedError:  # it would pick the first bands each time
                        pick.is_tied = True
        for pick in picks:
            _judge(pick, axis, num_resamples)
    return picks


def _judge(pick: Pick, axis: SpectralAxis, num_resamples: int) -> None:
    if pick.is_tied:
        return
    if isinstance(pick.strategy, Random):
        seeds = range(pick.strategy.seed + 1, pick.strategy.seed + 1 + num_resamples)
        pick.resampled = [replace(pick.strategy, seed=seed).select(axis) for seed in seeds]
    elif not pick.strategy.needs_statistics:
        pick.resampled = [pick.selection] * num_resamples
    if pick.resampled:
        # Bad bands are no choice, so they do not count among what is chosen from.
        place = {int(index): i for i, index in enumerate(axis.good_indices)}
        sets = [[place[index] for index in other.indices] for other in pick.resampled]
        pick.stability = stability(sets, len(place))
        pick.shift_nm = mean_shift_nm(
            pick.selection.wavelengths_nm, [other.wavelengths_nm for other in pick.resampled]
        )


def resamples(
    specimens: Sequence[SpectralStatistics], count: int, seed: int
) -> Iterator[SpectralStatistics]:
    """Yield merged statistics of bootstrap resamples of specimens, drawn within each class.

    Within classes, so that a supervised strategy meets every class each time; a specimen's
    class is in its statistics where it is known.
    """
    groups: dict[tuple[str, ...], list[SpectralStatistics]] = {}
    for part in specimens:
        name = tuple(sorted(part.classes))
        # Without its class, which would be merged beside it: a class is joined once, below.
        groups.setdefault(name, []).append(replace(part, classes={}) if len(name) == 1 else part)
    random = np.random.default_rng(seed)
    for _ in range(count):
        drawn = []
        for name, parts in sorted(groups.items()):
            rows = np.sort(random.integers(len(parts), size=len(parts)))
            merged = SpectralStatistics.merge([parts[row] for row in rows])
            drawn.append(merged.with_class(name[0]) if len(name) == 1 else merged)
        yield SpectralStatistics.merge(drawn)


def as_override(selection: BandSelection) -> str:
    """Return words for the command line that give the same bands: ``bands=list bands.nm=[...]``.

    Wavelengths are rounded as far as each still finds its own band; the whole axis is ``full``.

    Raises:
        ValueError: If two bands are so close that no rounding tells them apart.
    """
    if selection.strategy == "full":
        return "bands=full"
    for decimals in range(1, 10):
        nm = [round(float(value), decimals) for value in selection.wavelengths_nm]
        if len(set(nm)) == len(nm) and _same_bands(nm, selection):
            return f"bands=list 'bands.nm=[{','.join(map(repr, nm))}]'"
    raise ValueError("Bands of the same wavelength cannot be named by it; use bands.indices.")


def _same_bands(nm: Sequence[float], selection: BandSelection) -> bool:
    return tuple(selection.axis.nearest(value) for value in nm) == selection.indices
