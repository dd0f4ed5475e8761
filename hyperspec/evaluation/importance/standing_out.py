"""Which windows of wavelengths stand out, over seeds, rotations and specimens, all looked at once.

Hundreds of windows are looked at, so that the largest of them would stand out by chance alone. The
test is one of the largest: signs of whole specimens are drawn at random, and a window stands out
where it exceeds what the largest of all windows then reaches, at half of 5% for either measure. The
windows' overlap is in it, for a specimen's signs are the same in all of them.

Source: Westfall & Young (1993), Resampling-based multiple testing, section 2.6 (single step).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperspec.evaluation.importance.sliding_windows import Floats
from hyperspec.evaluation.importance.swaps import Grid
from hyperspec.evaluation.statistics.intervals import MIN_SPECIMENS, Interval, mean_interval

ALPHA = 0.05
_FLIPS = 1999
# Beside the strongest window, what tells a fifth as much is a shade of its surroundings: the level
# of a donor is matched by a straight line, and real spectra are curved.
_LEAST_SHARE = 0.2


@dataclass(frozen=True)
class WindowScore:
    """What is known of one window.

    Args:
        start_nm: Its lower end.
        stop_nm: Its upper end.
        told: Push towards the label, in log-odds, with its interval.
        lost: Accuracy lost when it comes from other specimens, with its interval.
        p: Corrected for all windows and both measures; NaN where too few specimens were tested.
    """

    start_nm: float
    stop_nm: float
    told: Interval
    lost: Interval
    p: float


@dataclass(frozen=True)
class Stretch:
    """Wavelengths that stand out: neighbouring windows, reported to half of their strongest.

    Args:
        start_nm: Lower end.
        stop_nm: Upper end.
        lost: Accuracy lost without its strongest window, with its interval.
        p: Smallest corrected p-value of its windows.
    """

    start_nm: float
    stop_nm: float
    lost: Interval
    p: float

    @property
    def is_redundant(self) -> bool:
        """Whether other wavelengths stand in for it: without it alone no loss is shown."""
        return not self.lost.low > 0


@dataclass(frozen=True)
class StandingOut:
    """Which wavelengths one setting's encoders lean on.

    Args:
        windows: All windows, ascending.
        stretches: Those that stand out, ascending; empty for none.
        width_nm: Width of the windows.
        num_specimens: Tested specimens (or groups).
        num_seeds: Seeds.
        reason: Why nothing can be told; empty where it can.
    """

    windows: tuple[WindowScore, ...]
    stretches: tuple[Stretch, ...]
    width_nm: float
    num_specimens: int
    num_seeds: int
    reason: str = ""


def find_standing_out(
    grid: Grid,
    told: Floats,
    lost: Floats,
    units: Sequence[str],
    folds: Sequence[int] | None = None,
) -> StandingOut:
    """Test all windows together.

    Args:
        grid: The windows.
        told: Log-odds, ``(S, W, N)``: seeds, windows, images; NaN where a seed did not test one.
        lost: Right answers lost, ``(S, W, N)``.
        units: Specimen (or group) of each image, ``(N,)``.
        folds: Rotation that tested each image, ``(N,)``; None without rotations.
    """
    names, owner = np.unique(np.asarray(units), return_inverse=True)
    own = np.stack([_by_unit(values, owner, len(names)) for values in (told, lost)])  # (2, W, U)
    few = len(names) < MIN_SPECIMENS
    p = np.full((2, len(grid.starts_nm)), np.nan)
    if not few:
        p[0] = np.minimum(2 * max_statistic(own[0]), 1.0)
        # Exchanging anything costs a little; what stands out costs more than an ordinary window. It
        # has to cost something too: where ordinary ones gain, one that changes nothing costs more.
        ordinary = (np.abs(own).sum((0, 2)) > 0) & (p[0] > ALPHA)
        costs = max_statistic(own[1])
        own[1] -= own[1][ordinary].mean(0) if ordinary.any() else 0.0
        p[1] = np.minimum(2 * np.maximum(costs, max_statistic(own[1])), 1.0)
    scores = tuple(
        WindowScore(
            float(start),
            float(start + grid.width_nm),
            mean_interval(told[:, i], units, folds=folds, binary=False),
            mean_interval(lost[:, i], units, folds=folds, binary=False),
            float(p[:, i].min()),
        )
        for i, start in enumerate(grid.starts_nm)
    )
    strength = own.mean(2)
    stretches = () if few else _stretches(grid, scores, strength, p)
    reason = f"fewer than {MIN_SPECIMENS} specimens were tested" if few else ""
    return StandingOut(scores, stretches, grid.width_nm, len(names), len(told), reason)


def max_statistic(values: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Return corrected one-sided p-values of means above 0 by random signs of whole units.

    Args:
        values: One number per test and unit, ``(..., U)``; the tests may depend on each other.
        seed: Seed of the signs.

    Returns:
        Shape ``(...)``, from 1 / 2000 to 1.
    """
    tests = values.reshape(-1, values.shape[-1])
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (_FLIPS, tests.shape[1]))
    seen = _studentised(tests, np.ones((1, tests.shape[1])))[0]
    largest = _studentised(tests, signs).max(1)
    beyond = (largest[:, None] >= seen[None] - 1e-12).sum(0)
    p = np.where(seen > 0, (beyond + 1) / (_FLIPS + 1), 1.0)
    return np.asarray(p.reshape(values.shape[:-1]))


def _studentised(tests: NDArray[np.float64], signs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the t statistic of each test under each draw of signs, ``(draws, tests)``."""
    num = tests.shape[1]
    means = signs @ tests.T / num
    variance = (np.square(tests).mean(1)[None] - means**2) / (num - 1)
    scale = np.sqrt(np.maximum(variance, 0.0))
    return np.asarray(np.divide(means, scale, out=np.zeros_like(means), where=scale > 1e-12))


def _by_unit(values: Floats, owner: NDArray[np.intp], num: int) -> Floats:
    """Average over seeds and the images of a unit: ``(S, W, N)`` to ``(W, U)``."""
    seen = ~np.isnan(values)
    summed = np.where(seen, values, 0.0).sum(0)
    sums, counts = np.zeros((2, len(summed), num))
    for place in range(len(summed)):
        sums[place] = np.bincount(owner, summed[place], minlength=num)
        counts[place] = np.bincount(owner, seen[:, place].sum(0), minlength=num)
    return np.asarray(sums / np.maximum(counts, 1))


def _stretches(
    grid: Grid, scores: Sequence[WindowScore], strength: Floats, p: NDArray[np.float64]
) -> tuple[Stretch, ...]:
    """Join neighbouring windows that stand out, and keep them from half of their strongest on."""
    found: dict[tuple[float, float], Stretch] = {}
    centres = grid.starts_nm + grid.width_nm / 2
    for kind in (0, 1):
        least = _LEAST_SHARE * max(strength[kind].max(), 0.0)
        out = (p[kind] <= ALPHA) & (strength[kind] >= least) & (strength[kind] > 0)
        for run in np.split(
            np.flatnonzero(out), np.flatnonzero(np.diff(np.flatnonzero(out)) > 1) + 1
        ):
            if not len(run):
                continue
            peak = int(run[np.argmax(strength[kind][run])])
            half = run[strength[kind][run] >= strength[kind][peak] / 2]
            middle, reach = (centres[half[0]] + centres[half[-1]]) / 2, grid.width_nm / 2
            reach = max((centres[half[-1]] - centres[half[0]]) / 2, reach)
            start, stop = float(middle - reach), float(middle + reach)
            if any(a < stop and start < b for a, b in found):
                continue  # told already says so
            found[start, stop] = Stretch(start, stop, scores[peak].lost, float(p[kind][run].min()))
    return tuple(found[ends] for ends in sorted(found))
