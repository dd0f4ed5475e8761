"""What stays together beyond the specimen, such as whole sessions, and how it is dealt to parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import SplitError

Columns: TypeAlias = Mapping[str, Sequence[str | None]]
"""Columns of the labels by name, a value for each image; None where it is unknown."""

# Orders in which groups are dealt. The best of the first ones is taken, so that seeds give
# different splits; further ones are only tried while a label lacks a part.
_DRAWS, _MOST_DRAWS = 16, 256


@dataclass(frozen=True)
class Grouping:
    """Groups of specimens that fall on one side as a whole.

    Args:
        column: The column that makes them, as in ``data.split.group``.
        keys: Group of each row, ``(N,)``; rows of one specimen have one group.
    """

    column: str
    keys: tuple[str, ...]

    @classmethod
    def of(cls, column: str, specimens: Sequence[str], columns: Columns) -> Grouping:
        """Join what shares a value of a column, or a specimen.

        A specimen with rows of two sessions joins both: a group is a connected component of
        specimens and values. It is named by its first value and how many more there are.

        Args:
            column: Name of the column.
            specimens: Specimen of each row, ``(N,)``.
            columns: The columns that there are.

        Raises:
            SplitError: If there is no such column, or a row has no value, since nobody knows which
                others it belongs to.
        """
        if column not in columns:
            raise SplitError(
                f"data.split.group is {column}, which the labels do not have. Their columns: "
                f"{', '.join(sorted(columns)) or 'none'}. Name one of these, or split by specimen "
                "(data.split.group=null)."
            )
        values = columns[column]
        missing = sum(value is None for value in values)
        if missing:
            raise SplitError(
                f"data.split.group is {column}, but {missing} of {len(values)} images have no "
                f"{column}, so that nobody can tell which others they belong to. Fill the column "
                "in (a word such as 'unknown' is a group of its own), or choose another one."
            )
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        known = [str(value) for value in values]
        _, owner = np.unique(np.asarray(specimens), return_inverse=True)
        names, value = np.unique(np.asarray(known), return_inverse=True)
        size = int(owner.max(initial=-1)) + 1
        edges = (owner, size + value)
        graph = coo_array((np.ones(len(known)), edges), shape=(size + len(names),) * 2)
        _, component = connected_components(graph, directed=False)
        members: dict[int, list[str]] = {}
        for name, part in zip(names.tolist(), component[size:].tolist(), strict=True):
            members.setdefault(part, []).append(name)
        # A value lies in one component only, so the first one is a name that no other has.
        keys = {
            part: own[0] if len(own) == 1 else f"{own[0]} +{len(own) - 1}"
            for part, own in members.items()
        }
        return cls(column, tuple(keys[part] for part in component[owner].tolist()))

    def holds(self, values: Sequence[str | None]) -> bool:
        """Say whether each value of another column occurs in one group only."""
        seen: dict[str, str] = {}
        return all(
            value is None or seen.setdefault(value, key) == key
            for key, value in zip(self.keys, values, strict=True)
        )

    def deal(
        self,
        pairs: Sequence[tuple[str, str | None]],
        specimens: Sequence[str],
        shares: Sequence[Fraction],
        seed: int,
    ) -> dict[str, int]:
        """Give whole groups a part each, so that labels keep their shares as well as that allows.

        Groups come in an order drawn from the seed, and each goes where it brings the labels'
        counts nearest to their shares (squared distance relative to the share). The best of 16
        orders counts: first the one in which fewest labels lack a part. While one lacks, up to 256
        are tried.

        Args:
            pairs: Each specimen that is dealt with each of its labels, without repetition; None
                where unknown.
            specimens: Specimen of each row, ``(N,)``.
            shares: Share of each part, P of them, above 0, together 1.
            seed: Seed of the orders.

        Returns:
            Part of each specimen, 0 to P - 1. It depends on neither the order of rows nor of pairs.

        Raises:
            SplitError: If there are fewer groups than parts, or a label cannot be in all parts.
        """
        group_of = dict(zip(specimens, self.keys, strict=True))
        names = sorted({group_of[specimen] for specimen, _ in pairs})
        labels = sorted({label for _, label in pairs if label is not None})
        row = {name: i for i, name in enumerate(names)}
        place = {label: i for i, label in enumerate(labels)}
        counts = np.zeros((len(names), len(labels) + 1))  # the last column: without a label
        for specimen, label in pairs:
            at = len(labels) if label is None else place[label]
            counts[row[group_of[specimen]], at] += 1
        _check(counts, labels, len(shares), self.column)
        parts = _best(
            counts[:, counts.sum(0) > 0],
            np.asarray(shares, np.float64),
            len(labels),
            f"{self.column}\0{seed}",
        )
        if parts is None:
            raise SplitError(
                f"data.split.group={self.column} makes {len(names)} groups, and in none of "
                f"{_MOST_DRAWS} ways to deal them to {len(shares)} parts does every label fall in "
                "every part. Group by a column with more values, or take the rarest labels out "
                "(data.split.hold_out)."
            )
        return {specimen: int(parts[row[group_of[specimen]]]) for specimen, _ in pairs}


def _best(
    counts: NDArray[np.float64], shares: NDArray[np.float64], num_labels: int, seed: str
) -> NDArray[np.intp] | None:
    """Return the part of each group in the best of the orders; None if labels lack parts in all."""
    random = np.random.default_rng(
        int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest())
    )
    best, parts = (np.inf, np.inf), None
    for draw in range(_MOST_DRAWS):
        if draw >= _DRAWS and best[0] == 0:
            break
        found = _in_order(random.permutation(len(counts)), counts, shares)
        badness = _badness(found, counts, shares, num_labels)
        if badness < best:
            best, parts = badness, found
    return parts if best[0] == 0 else None


def _check(counts: NDArray[np.float64], labels: list[str], num_parts: int, column: str) -> None:
    if len(counts) < num_parts:
        raise SplitError(
            f"data.split.group={column} makes {len(counts)} "
            f"group{'s' * (len(counts) != 1)} (specimens that share a {column}, and all that they "
            f"hang together with), but {num_parts} parts need one each. Group by a column with "
            "more values, or split by specimen (data.split.group=null)."
        )
    groups = (counts > 0).sum(0)
    rare = [label for label, number in zip(labels, groups, strict=False) if number < num_parts]
    if rare:
        number = int(groups[labels.index(rare[0])])
        others = f" ({len(rare) - 1} more labels are as rare)" if len(rare) > 1 else ""
        raise SplitError(
            f"Label {rare[0]!r} occurs in {number} group{'s' * (number != 1)} of data.split.group="
            f"{column}{others}, but each of the {num_parts} parts needs one. Add specimens of it "
            f"with another {column}, leave it out (\"data.split.hold_out=['{rare[0]}']\"), group "
            "by another column, or split by specimen (data.split.group=null)."
        )


def _in_order(
    order: NDArray[np.int64], counts: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Deal groups one by one to where they bring the counts nearest to their targets."""
    targets = shares[:, None] * counts.sum(0)  # (P, L)
    held = np.zeros_like(targets)
    parts = np.zeros(len(counts), dtype=np.intp)
    for group in order:
        more = counts[group]
        change = ((2 * (held - targets) + more) * more / targets).sum(1)
        parts[group] = part = int(change.argmin())
        held[part] += more
    return parts


def _badness(
    parts: NDArray[np.intp],
    counts: NDArray[np.float64],
    shares: NDArray[np.float64],
    num_labels: int,
) -> tuple[float, float]:
    """Return how many labels and parts lack each other, and how far all are from their shares."""
    held = np.stack([counts[parts == part].sum(0) for part in range(len(shares))])  # (P, L)
    targets = shares[:, None] * counts.sum(0)
    lacking = (held[:, :num_labels] == 0).sum() + (held.sum(1) == 0).sum()
    # Rounded, so that equally good orders are told apart by who came first, not by the last digit.
    return float(lacking), round(float(((held - targets) ** 2 / targets).sum()), 9)
