"""The permutation test of a column of the labels against the label, over specimens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

NUM_PERMUTATIONS = 1999
# Numbers and dates that fewer than two specimens share, on average, are compared by neighbourhood:
# as many neighbours as a session has at 64 specimens of eight sessions.
_FEW, _NEIGHBOURS = 2, 8
_BLOCK = 1_000_000  # numbers held at once, 8 MB
# Six digits are the mission's day, month, year; the others are how dates are usually written.
_DATES = ("%d%m%y", "%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M")


@dataclass(frozen=True, eq=False)
class Units:
    """Specimens with a label and a value, in an order that does not depend on that of rows.

    Args:
        keys: Specimen and label of each unit, U of them.
        labels: Code of each unit's label, ``(U,)``.
        label_names: Names of the codes.
        owner: Unit of each entry, ``(E,)``: a unit has one for each of its values.
        level: Code of each entry's value, ``(E,)``.
        level_names: Names of the codes.
    """

    keys: tuple[tuple[str, str], ...]
    labels: NDArray[np.intp]
    label_names: list[str]
    owner: NDArray[np.intp]
    level: NDArray[np.intp]
    level_names: list[str]

    @classmethod
    def of(
        cls, labels: Sequence[str | None], specimens: Sequence[str], values: Sequence[str | None]
    ) -> Units:
        """Gather the rows, ``(N,)`` each, that have both label and value."""
        rows = zip(specimens, labels, values, strict=True)
        entries = sorted({(s, x, v) for s, x, v in rows if x is not None and v is not None})
        units = sorted({(s, x) for s, x, _ in entries})
        place = {unit: i for i, unit in enumerate(units)}
        names, codes = np.unique([x for _, x in units], return_inverse=True)
        level_names, level = np.unique([v for *_, v in entries], return_inverse=True)
        owner = np.array([place[s, x] for s, x, _ in entries], dtype=np.intp)
        return cls(tuple(units), codes, names.tolist(), owner, level, level_names.tolist())

    @property
    def partition(self) -> object:
        """Which units share which values, whatever these are called."""
        first: dict[int, int] = {}
        return self.keys, tuple(
            (unit, first.setdefault(level, len(first)))
            for unit, level in zip(self.owner.tolist(), self.level.tolist(), strict=True)
        )

    def neighbourhoods(self) -> Units | None:
        """Take neighbours together where numbers or dates hardly repeat; None where they do."""
        if len(self.level_names) * _FEW <= len(self.labels):
            return None
        places = _ordered(self.level_names)
        if places is None:
            return None
        order = np.argsort(places, kind="stable")
        sizes = np.bincount(self.level, minlength=len(order))[order]
        # Whole values; each neighbourhood has 8 entries on average, and there are two at least.
        width = min(float(_NEIGHBOURS), sizes.sum() / 2)
        middle = np.cumsum(sizes) - sizes / 2
        bins = np.empty(len(order), dtype=np.intp)
        bins[order] = (middle / width).astype(np.intp)
        pairs = sorted(set(zip(self.owner.tolist(), bins[self.level].tolist(), strict=True)))
        names, level = np.unique([level for _, level in pairs], return_inverse=True)
        owner = np.array([unit for unit, _ in pairs], dtype=np.intp)
        return replace(self, owner=owner, level=level, level_names=[str(n) for n in names])

    def test(self) -> float | None:
        """Return the p-value; None where fewer than two values have two units."""
        shared = np.bincount(self.level) > 1
        entries = shared[self.level]
        units, owner = np.unique(self.owner[entries], return_inverse=True)
        names, level = np.unique(self.level[entries], return_inverse=True)
        _, labels = np.unique(self.labels[units], return_inverse=True)
        if len(names) < 2:
            return None
        weight = 1 / np.bincount(owner)[owner]
        rows, columns = np.bincount(labels), np.bincount(level, weight)
        scale = 1 / np.outer(rows, columns).ravel()

        def statistics(own: NDArray[np.intp]) -> NDArray[np.float64]:
            cells = own[:, owner] * len(names) + level + scale.size * np.arange(len(own))[:, None]
            weights = np.broadcast_to(weight, cells.shape).ravel()
            tables = np.bincount(cells.ravel(), weights, minlength=scale.size * len(own))
            return np.asarray(tables.reshape(len(own), -1) ** 2 @ scale)

        random = np.random.default_rng(0)
        # Beyond rounding: an equal table is as extreme as the one seen.
        least = statistics(labels[None])[0] - 1e-9
        block, beyond = max(1, _BLOCK // max(scale.size, len(owner))), 0
        for start in range(0, NUM_PERMUTATIONS, block):
            size = min(block, NUM_PERMUTATIONS - start)
            permuted = random.permuted(np.tile(labels, (size, 1)), axis=1)
            beyond += int((statistics(permuted) >= least).sum())
        return (beyond + 1) / (NUM_PERMUTATIONS + 1)

    def guessed(self) -> float:
        """Return the share of units whose label the others of their values tell."""
        from scipy.sparse import coo_array

        shape = (len(self.labels), len(self.level_names))
        weight = 1 / np.bincount(self.owner)[self.owner]
        values = coo_array((weight, (self.owner, self.level)), shape=shape).tocsr()
        own = coo_array(
            (np.ones(shape[0]), (np.arange(shape[0]), self.labels)),
            shape=(shape[0], len(self.label_names)),
        ).tocsr()
        votes = np.asarray((values @ (values.T @ own)).todense())  # (U, labels), itself included
        rows = np.arange(shape[0])
        votes[rows, self.labels] -= np.asarray(values.power(2).sum(1)).ravel()
        whole = np.bincount(self.labels)[None] - np.asarray(own.todense())
        votes = np.where(votes.max(1, keepdims=True) > 1e-9, votes, whole)
        best = votes >= votes.max(1, keepdims=True) - 1e-9
        return float((best[rows, self.labels] / best.sum(1)).mean())

    def rarest(self) -> tuple[str, int]:
        """Return the label that occurs with fewest values, and with how many."""
        pairs = set(zip(self.labels[self.owner].tolist(), self.level.tolist(), strict=True))
        numbers = np.bincount([label for label, _ in pairs], minlength=len(self.label_names))
        fewest = int(numbers.argmin())
        return self.label_names[fewest], int(numbers[fewest])

    def example(self) -> str | None:
        """Return the most common value that occurs with two labels; None without one."""
        labels_of: dict[int, set[int]] = {}
        for unit, level in zip(self.owner.tolist(), self.level.tolist(), strict=True):
            labels_of.setdefault(level, set()).add(int(self.labels[unit]))
        for level, _ in Counter(self.level.tolist()).most_common():
            if len(labels_of[level]) > 1:
                return str(self.level_names[level])
        return None


def _ordered(values: Sequence[str]) -> NDArray[np.float64] | None:
    """Return where values lie, as dates or else as numbers; None where one is neither."""
    for pattern in _DATES:
        try:
            days = [datetime.strptime(value, pattern) for value in values]
        except ValueError:
            continue
        return np.array([(day - datetime(1, 1, 1)).total_seconds() for day in days])
    try:
        found = np.array([float(value) for value in values])
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None
