"""Strategies that cut the axis into n contiguous groups and take one band of each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from hyperspec.bands.base import StatisticsStrategy, Vector, check_choice, top
from hyperspec.bands.clustered import density_peak_scores
from hyperspec.bands.geometry import Matrix, band_distances, rescale, self_tuned_similarity
from hyperspec.bands.ranked import entropies, mvpca_scores
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import BandError


@dataclass
class Ocf(StatisticsStrategy):
    """Optimal clustering framework: the best contiguous partition, and the best band of each part.

    Source: Wang, Zhang, Li 2018, "Optimal clustering framework for hyperspectral band selection",
        eq. 8 (dynamic programming), 14 (normalised cut), 16 (top-rank cut).
    """

    name: ClassVar[str] = "ocf"

    objective: str = "top_rank_cut"
    """top_rank_cut keeps the groups' best bands apart; normalised_cut keeps groups compact."""

    ranking: str = "e_fdpc"
    """How bands are ranked inside a group: e_fdpc, pca or entropy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("objective", self.objective, ("top_rank_cut", "normalised_cut"))
        check_choice("ranking", self.ranking, ("e_fdpc", "pca", "entropy"))

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> list[int]:
        distances = band_distances(statistics)
        scores = self._scores(statistics, distances)
        similarity = self_tuned_similarity(distances)
        if self.objective == "top_rank_cut":
            groups = best_partition(top_rank_cut(similarity, scores), self.n, worst=True)
        else:
            groups = best_partition(-normalised_association(similarity), self.n, worst=False)
        return [start + int(top(scores[start:stop], 1)[0]) for start, stop in groups]

    def _scores(self, statistics: SpectralStatistics, distances: Matrix) -> Vector:
        if self.ranking == "pca":
            return mvpca_scores(statistics.covariance, 0.95)
        if self.ranking == "entropy":
            return entropies(statistics)
        # As the authors do: the ranking is that of all bands, not of n.
        return density_peak_scores(distances, len(distances))


def top_rank_cut(similarity: Matrix, scores: Vector) -> Matrix:
    """Return for each group i..j how similar its best band is to all bands outside it.

    Args:
        similarity: Shape ``(C, C)``.
        scores: Rank values, higher is better; of equals the first is the best, shape ``(C,)``.

    Returns:
        Shape ``(C, C)``, entry ``[i, j]`` for the bands i to j, both included; inf below the
        diagonal.
    """
    count = len(scores)
    order = top(scores, count)
    place = np.empty(count, int)
    place[order] = np.arange(count)
    sums = np.concatenate([np.zeros((count, 1)), similarity.cumsum(axis=1)], axis=1)
    costs = np.full((count, count), np.inf)
    for start in range(count):
        winner = order[np.minimum.accumulate(place[start:])]
        stops = np.arange(start, count)
        inside = sums[winner, stops + 1] - sums[winner, start]
        costs[start, start:] = sums[winner, -1] - inside
    return costs


def normalised_association(similarity: Matrix) -> Matrix:
    """Return for each group i..j the share of its similarity that stays inside, shape ``(C, C)``.

    Pairs of a band with itself count outside the group only, as in the authors' programs.
    Entries below the diagonal are -inf.
    """
    count = len(similarity)
    off_diagonal = similarity - np.diag(np.diag(similarity))
    sums = np.zeros((count + 1, count + 1))
    sums[1:, 1:] = off_diagonal.cumsum(axis=0).cumsum(axis=1)
    start, stop = np.arange(count)[:, None], np.arange(1, count + 1)[None, :]
    within = sums[stop, stop] - sums[start, stop] - sums[stop, start] + sums[start, start]
    degree = np.concatenate([[0.0], similarity.sum(axis=1).cumsum()])
    volume = degree[stop] - degree[start]
    share: Matrix = np.divide(
        within, volume, out=np.full((count, count), -np.inf), where=stop > start
    )
    return share


def best_partition(costs: Matrix, n: int, *, worst: bool) -> list[tuple[int, int]]:
    """Cut 0..C-1 into n contiguous groups of least cost, by dynamic programming.

    Args:
        costs: Cost of the group i..j, both included, shape ``(C, C)``.
        n: How many groups, 1 to C.
        worst: Whether a partition costs as much as its worst group, instead of their sum.

    Returns:
        Start and stop (exclusive) of each group.
    """
    count = len(costs)
    total = costs[0].copy()  # of the bands up to j in the groups so far
    cuts = []
    for _ in range(1, n):
        # From band i on a new group; the groups before it end at i - 1.
        before = np.full(count, np.inf)
        before[1:] = total[:-1]
        joined = np.maximum(before[:, None], costs) if worst else before[:, None] + costs
        cuts.append(joined.argmin(axis=0))
        total = joined.min(axis=0)
    groups = []
    stop = count
    for cut in reversed(cuts):
        start = int(cut[stop - 1])
        groups.append((start, stop))
        stop = start
    return [(0, stop), *reversed(groups)]


@dataclass
class Fngbs(StatisticsStrategy):
    """Fast neighbourhood grouping: even groups whose borders move, then a dense, informative band.

    Two things differ from the authors' programs. A border is put where the distances to the two
    centres add up to the least, where they assign bands one by one and then repair groups that
    fell apart. Distances are in units of their mean, since theirs grow with the number of pixels
    and with the gain, until every density is 0.

    Source: Wang, Li, Li 2020, "A fast neighborhood grouping method for hyperspectral band
        selection", section III.
    """

    name: ClassVar[str] = "fngbs"

    neighbours: int = 2
    """Neighbours in a group that a band's density is made of, 1 or above (the paper's 2)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise BandError(f"bands.neighbours is {self.neighbours}; give 1 or above.")

    def _rank(self, wavelengths_nm: Vector, statistics: SpectralStatistics) -> list[int]:
        distances = band_distances(statistics)
        mean = float(distances.mean())
        distances = distances / mean if mean > 0 else distances
        information = rescale(entropies(statistics))
        chosen = []
        edges = neighbourhood_edges(distances, self.n)
        for start, stop in pairwise(edges):
            scores = information[start:stop]
            if stop - start > self.neighbours:
                near = distances[start:stop, start:stop]
                scores = scores * rescale(shared_density(near, self.neighbours))
            chosen.append(int(start + top(scores, 1)[0]))
        return chosen


def neighbourhood_edges(distances: Matrix, n: int, rounds: int = 5) -> list[int]:
    """Return the n + 1 edges of n groups of bands around moving centres.

    Every border is moved in at most ``rounds`` rounds; 5 are the authors'. Distances have shape
    ``(C, C)``, n is 1 to C.
    """
    count = len(distances)
    edges = [int(e) for e in np.linspace(0, count, n + 1)]
    for _ in range(rounds):
        centres = [(a + b - 1) // 2 for a, b in pairwise(edges)]
        moved = [0]
        for left, right in pairwise(centres):
            # Border b: bands left+1..b-1 go to the left centre, b..right-1 to the right one.
            between = slice(left + 1, right)
            to_left = np.concatenate([[0.0], distances[left, between].cumsum()])
            to_right = np.concatenate([distances[right, between][::-1].cumsum()[::-1], [0.0]])
            moved.append(left + 1 + int((to_left + to_right).argmin()))
        moved.append(count)
        if moved == edges:
            break
        edges = moved
    return edges


def shared_density(distances: Matrix, neighbours: int) -> Vector:
    """Return each band's density from its nearest neighbours, those in common weighing more.

    rho_i = sum over its k nearest neighbours l of exp(-d_il / (s_il + 1)), s_il the number of
    neighbours that i and l share.

    Args:
        distances: Of the bands of one group, shape ``(m, m)``, m above ``neighbours``.
        neighbours: k.
    """
    count = len(distances)
    apart = distances + np.where(np.eye(count, dtype=bool), np.inf, 0.0)
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :neighbours]
    belongs = np.zeros((count, count), int)
    np.put_along_axis(belongs, nearest, 1, axis=1)
    shared = belongs @ belongs.T
    rows = np.arange(count)[:, None]
    weights = np.exp(-distances[rows, nearest] / (shared[rows, nearest] + 1))
    density: Vector = weights.sum(axis=1)
    return density
