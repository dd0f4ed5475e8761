"""What every way of dealing out specimens shares: their order, and folds of several labels."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Pair: TypeAlias = tuple[str, str | None]  # one specimen and one of its labels


def ranked(pairs: Sequence[Pair], seed: int) -> dict[str | None, list[str]]:
    """Return the specimens of each label in an order that a keyed hash draws.

    A hash instead of a random stream: the order of two specimens depends on label, specimens and
    seed alone, so that one specimen more moves few others.

    Args:
        pairs: Each specimen once, with its one label.
        seed: Key of the hash.
    """
    members: dict[str | None, list[str]] = {}
    for group, label in pairs:
        members.setdefault(label, []).append(group)
    return {
        label: [group for _, group in sorted((_draw(seed, label, g), g) for g in specimens)]
        for label, specimens in members.items()
    }


def _draw(seed: int, label: str | None, group: str) -> bytes:
    text = "\0".join([str(seed), "" if label is None else f"={label}", group])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def has_one_label_each(pairs: Sequence[Pair]) -> bool:
    """Say whether no specimen carries several labels; each pair stands once."""
    return len({group for group, _ in pairs}) == len(pairs)


def most_specimens(pairs: Sequence[Pair]) -> int:
    """Return how many specimens the label that most of them carry has; the unlabelled are one."""
    return int(np.unique(_labels(pairs), return_counts=True)[1].max())


def folds(pairs: Sequence[Pair], num_folds: int, seed: int) -> dict[str, int]:
    """Give each specimen a fold where specimens carry several labels (StratifiedGroupKFold).

    Args:
        pairs: Specimens with each of their labels, sorted.
        num_folds: At most as many as :func:`most_specimens`.
        seed: Seed of the shuffling.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    ids, groups = np.unique([group for group, _ in pairs], return_inverse=True)
    dealt = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    fold_of: dict[str, int] = {}
    with warnings.catch_warnings():
        # Small labels are judged by the caller, with names and a way out.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        found = dealt.split(np.zeros(len(pairs)), _labels(pairs), groups)
        for fold, (_, chosen) in enumerate(found):
            fold_of.update(dict.fromkeys(ids[groups[chosen]].tolist(), fold))
    return fold_of


def _labels(pairs: Sequence[Pair]) -> list[str]:
    return ["" if label is None else f"={label}" for _, label in pairs]
