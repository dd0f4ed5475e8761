"""Rotating parts: specimens are dealt into K parts, and each part is the test part once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hyperspec.datasets.dealing import Pair, folds, has_one_label_each, most_specimens, ranked
from hyperspec.utils.errors import ConfigError, SplitError

MIN_PARTS = 3  # test, validation, and one to train on


@dataclass(frozen=True)
class Rotation:
    """One of the K ways in which K parts take turns.

    Args:
        num_parts: K, at least 3 (config key ``data.split.rotate``).
        turn: The part that is tested, 0 to K - 1 (``data.split.rotation``); the one after it, of
            the last the first, is validation, and the others train.

    Raises:
        ConfigError: If one of the two is outside its range.
    """

    num_parts: int
    turn: int

    def __post_init__(self) -> None:
        if self.num_parts < MIN_PARTS:
            raise ConfigError(
                f"data.split.rotate is {self.num_parts}; give at least {MIN_PARTS} parts (one is "
                "tested, one is validation, the others train), for example data.split.rotate=4, "
                "or null for the shares of data.split.fractions."
            )
        if not 0 <= self.turn < self.num_parts:
            raise ConfigError(
                f"data.split.rotation is {self.turn}, but data.split.rotate={self.num_parts} has "
                f"the rotations 0 to {self.num_parts - 1}."
            )

    def role(self, part: int) -> int:
        """Return what a dealt part is in this rotation: 0 train, 1 validation, 2 test."""
        # Distance from the test part: itself 0, the one after it 1.
        return {0: 2, 1: 1}.get((part - self.turn) % self.num_parts, 0)


def rotated(pairs: Sequence[Pair], rotation: Rotation, seed: int) -> dict[str, int]:
    """Give each specimen its role in a rotation: 0 train, 1 validation, 2 test.

    All rotations of one seed deal alike, so that each specimen is tested exactly once, and what
    one of them refuses all of them refuse.

    Args:
        pairs: Specimens with each of their labels, sorted.
        rotation: Which part is tested.
        seed: Chooses which specimens lie together.

    Raises:
        SplitError: If a label is missing from what some rotation trains on, or a part is empty.
    """
    num_parts = rotation.num_parts
    if has_one_label_each(pairs):
        part_of = _deal(ranked(pairs, seed), num_parts)
    else:
        most = most_specimens(pairs)
        if num_parts > most:
            raise SplitError(
                f"data.split.rotate={num_parts} needs a label of {num_parts} specimens or more, "
                "because specimens carry several labels each, but no label has more than "
                f"{most}. Give data.split.rotate={max(most, MIN_PARTS)} at most."
            )
        part_of = folds(pairs, num_parts, seed)
    _check(pairs, part_of, num_parts)
    return {group: rotation.role(part) for group, part in part_of.items()}


def _deal(members: Mapping[str | None, Sequence[str]], num_parts: int) -> dict[str, int]:
    """Deal out label by label; where one label's remainder ends, the next one's begins.

    So the parts differ by one specimen at most, of every label and of all together. Each part takes
    neighbours of a label's order, so that one specimen more moves few others.
    """
    part_of: dict[str, int] = {}
    # Unlabelled ones come last: the labelled alone have to fill the parts.
    for label in sorted(members, key=lambda name: (name is None, name or "")):
        specimens, first = members[label], len(part_of)
        turns = (first + np.arange(len(specimens))) % num_parts
        part_of.update(zip(specimens, np.sort(turns).tolist(), strict=True))
    return part_of


def _check(pairs: Sequence[Pair], part_of: Mapping[str, int], num_parts: int) -> None:
    """Refuse a deal in which some rotation trains on no specimen of a label, or tests none."""
    asked = f"data.split.rotate={num_parts}"
    parts_of: dict[str, set[int]] = {}
    for group, label in pairs:
        if label is not None:
            parts_of.setdefault(label, set()).add(part_of[group])
    lacking = [
        label
        for label, parts in sorted(parts_of.items())
        if any(parts <= {turn, (turn + 1) % num_parts} for turn in range(num_parts))
    ]
    if lacking:
        label, others = lacking[0], len(lacking) - 1
        total = sum(name == label for _, name in pairs)
        more = f" ({others} more label{'s' * (others != 1)} alike)" if others else ""
        way = (
            "add specimens of it, give its cubes another label, or take them out of the folder"
            if total < MIN_PARTS
            else "take another data.split.seed or fewer parts"
        )
        raise SplitError(
            f"Label {label!r} has {total} specimen{'s' * (total != 1)}, and a rotation of {asked} "
            f"would train on none of them{more}: test and validation take two parts. Every label "
            f"needs specimens in 3 parts: {way}."
        )
    counted = {group for group, label in pairs if label is not None or not parts_of}
    if len({part_of[group] for group in counted}) < num_parts:
        kind = "labelled specimens" if parts_of else "specimens"
        raise SplitError(
            f"{asked} leaves a part empty: there are {len(counted)} {kind}, and all rows of a "
            f"specimen stay together. Give fewer parts (data.split.rotate={MIN_PARTS} is the "
            "least), or add cubes."
        )
