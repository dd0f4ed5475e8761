"""Where the spread of a mean over seeds and specimens comes from, and its interval's width.

A table holds a score for each seed and specimen. Its mean square between specimens, between seeds
and of what is left estimate the variance of its mean, (M_specimens + M_seeds - M_rest) / (S G). The
squared half-width gives each part the Student quantile of its own degrees of freedom (Howe 1974;
Graybill & Wang 1980), so that three seeds weigh as three and five hundred specimens as many:

    h² = [t²(G - 1) M_specimens + max(t²(S - 1) (M_seeds - w M_rest)₊,
                                      t²(K - 1) (M_folds - w M_within)₊)] / (S G)

Of a subtracted mean square only the share w = 1 - 1/ν counts, ν being the degrees of freedom of
what it is subtracted from. With all of it, two degrees of freedom are too often too small by
chance: in simulations three seeds then cover 91% at worst, and with this share 94 to 98%.

The third part is of rotations: their training sets differ, and overlap, so that the folds' means
differ by more than sampling (Nadeau & Bengio 2003; Bates, Hastie & Tibshirani 2024). All of this
was chosen by simulation: ``benchmarks/bench_truth.py``, ``docs/evaluation.md``.

Everything is vectorised over leading axes, so that the simulation runs the very same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Count = TypeVar("Count", int, Ints)
MIN_SEEDS = 3  # with two, an interval over seeds takes t = 12.7 and says nothing
_SQUARES = ("mean", "specimens", "seeds", "rest", "folds", "within")


@dataclass(frozen=True)
class MeanSquares:
    """The mean of a table (seeds × specimens) with its mean squares; numbers, or one per table.

    Args:
        mean: Mean of all.
        specimens: Between specimens, times the seeds.
        seeds: Between seeds, times the specimens; 0 for one seed.
        rest: What seeds and specimens do not explain; 0 for one seed.
        folds: Between rotations, times seeds and specimens of each; 0 without.
        within: Between specimens of one rotation; that of all without.
        num_seeds: S.
        num_specimens: G.
        num_folds: K, 1 without rotations.
    """

    mean: Floats
    specimens: Floats
    seeds: Floats
    rest: Floats
    folds: Floats
    within: Floats
    num_seeds: int
    num_specimens: int
    num_folds: int

    @classmethod
    def stack(cls, tables: Sequence[MeanSquares]) -> MeanSquares:
        """Put those of several tables of one shape together, one number per table."""
        columns: dict[str, Any] = {
            name: np.array([getattr(one, name) for one in tables], np.float64) for name in _SQUARES
        }
        return replace(tables[0], **columns)

    def take(self, rows: NDArray[np.integer]) -> MeanSquares:
        """Return those of some of the tables."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _SQUARES})

    @property
    def over_seeds(self) -> bool:
        """Whether there are seeds enough that an interval speaks of seeds that were not run."""
        return self.num_seeds >= MIN_SEEDS

    def squared_half_width(self, level: float | Floats, *, bounded: bool = False) -> Floats:
        """Return h² at a coverage between 0 and 1; with fewer than three seeds, of these seeds.

        Args:
            level: Coverage, one or one per table.
            bounded: Whether the ends are brought into a form for right-or-wrong scores, which
                bounds the spread of specimens by itself.
        """
        more = np.zeros_like(self.mean)
        if self.over_seeds:
            more = _excess(self.seeds, self.rest, level, self.num_seeds - 1)
        if self.num_folds > 1:
            of_folds = _excess(self.folds, self.within, level, self.num_folds - 1)
            more = np.maximum(more, of_folds)
        freedom = specimen_freedom(self.num_specimens, bounded)
        total = squared_t(level, freedom) * self.specimens + more
        return np.asarray(total / (self.num_seeds * self.num_specimens))


def specimen_freedom(num_specimens: Count, bounded: bool) -> Count:
    """Return the degrees of freedom of the spread between specimens.

    Of right-or-wrong scores the mean itself says much of the spread: three times as many are right
    in simulations of 8 to 30 specimens, where plain ones cover 99%.
    """
    return (3 if bounded else 1) * (num_specimens - 1)


def share_subtracted(degrees: int | Ints) -> float | Floats:
    """Return how much of a mean square is subtracted from one with so many degrees of freedom."""
    return 1 - 1 / degrees


def squared_t(level: float | Floats, degrees: int | Ints) -> float | Floats:
    """Return the square of the two-sided quantile of Student's t, for one or for many."""
    if isinstance(level, float) and isinstance(degrees, int):
        return _squared_t(level, degrees)
    from scipy.special import stdtrit

    return np.asarray(stdtrit(degrees, (1 + level) / 2) ** 2)


@lru_cache(maxsize=2**16)
def _squared_t(level: float, degrees: int) -> float:
    """Kept, since the comparisons of a report ask for the same levels again and again."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2)) ** 2


def _excess(larger: Floats, smaller: Floats, level: float | Floats, degrees: int) -> Floats:
    left = np.maximum(larger - share_subtracted(degrees) * smaller, 0.0)
    return np.asarray(squared_t(level, degrees) * left)


def mean_squares(values: Floats, folds: NDArray[np.intp] | None = None) -> MeanSquares:
    """Take the variance of tables apart.

    Args:
        values: Score of each seed and specimen, ``(..., S, G)``, no NaN, at least two specimens.
        folds: Rotation that each specimen was tested in, ``(G,)``, from 0; None without. The same
            for all seeds.

    Source:
        The two-way random model without replication, Searle, Casella & McCulloch (1992), ch. 4.
    """
    num_seeds, num = values.shape[-2:]
    by_specimen, by_seed = values.mean(-2), values.mean(-1)
    mean = by_seed.mean(-1)
    specimens = num_seeds * by_specimen.var(-1, ddof=1)
    zero = np.zeros_like(mean)
    seeds, rest = zero, zero
    if num_seeds > 1:
        seeds = num * by_seed.var(-1, ddof=1)
        left = values - by_specimen[..., None, :] - by_seed[..., None] + mean[..., None, None]
        rest = (left**2).sum((-2, -1)) / ((num_seeds - 1) * (num - 1))
    between, within, num_folds = zero, specimens, 1
    if folds is not None and len(np.unique(folds)) > 1:
        names, columns, sizes = np.unique(folds, return_inverse=True, return_counts=True)
        num_folds = len(names)
        members = np.eye(num_folds)[columns]
        by_fold = by_specimen @ (members / sizes)
        off = by_specimen - by_fold[..., columns]
        between = ((by_fold - mean[..., None]) ** 2 * sizes).sum(-1)
        between = num_seeds * between / (num_folds - 1)
        within = num_seeds * (off**2).sum(-1) / max(num - num_folds, 1)
    return MeanSquares(
        np.asarray(mean),
        np.asarray(specimens),
        np.asarray(seeds),
        np.asarray(rest),
        np.asarray(between),
        np.asarray(within),
        num_seeds,
        num,
        num_folds,
    )
