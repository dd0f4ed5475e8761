"""Train, validation and test parts, grouped by specimen, stratified by label; what is held out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hyperspec.datasets.dealing import Pair, folds, has_one_label_each, most_specimens, ranked
from hyperspec.datasets.grouping import Columns, Grouping
from hyperspec.datasets.rotation import Rotation, rotated
from hyperspec.utils.errors import ConfigError, SplitError

_SHOWN = 12  # names in a message


def genus_of(label: str) -> str:
    """Return the first word of a label, ``Papilio`` of ``Papilio machaon``."""
    return label.split(maxsplit=1)[0] if label.strip() else label


def is_held_out(label: str | None, names: Sequence[str]) -> bool:
    """Say whether one of the names is the label or its first word; without a label it is not."""
    return label is not None and (label in names or genus_of(label) in names)


def named_rows(
    name: str, labels: Sequence[str | None], columns: Columns, *, key: str = "data.split.hold_out"
) -> NDArray[np.bool_]:
    """Return which rows one entry of ``data.split.hold_out`` means, ``(N,)``.

    Args:
        name: A label, a genus (first word of a label), or ``column=value``.
        labels: Label of each row; None where unknown.
        columns: Other columns by name, a value for each row; None where unknown.
        key: Where the name was given, for messages.

    Raises:
        SplitError: If no row is meant; the message lists what there is.
    """
    found = np.array([is_held_out(label, [name]) for label in labels], dtype=bool)
    if found.any():
        return found
    column, equals, value = name.partition("=")
    if not equals:
        known = sorted({label for label in labels if label is not None})
        raise SplitError(
            f"{key} names '{name}', which is neither a label nor the first word "
            f"of one. {_exist(known)}"
        )
    if column not in columns:
        raise SplitError(
            f"{key} names '{name}', but the labels have no column '{column}'. "
            f"Columns: {shortened(sorted(columns)) or 'none'}."
        )
    found = np.array([own == value for own in columns[column]], dtype=bool)
    if not found.any():
        there = sorted({own for own in columns[column] if own is not None})
        raise SplitError(
            f"{key} names '{name}', but no image has the {column} '{value}'. "
            f"There are: {shortened(there) or 'none'}."
        )
    return found


def held_out_rows(
    labels: Sequence[str | None],
    groups: Sequence[str],
    names: Sequence[str],
    columns: Columns | None = None,
    *,
    absent_ok: bool = False,
) -> NDArray[np.bool_]:
    """Return which rows are held out, ``(N,)``.

    A specimen of which one row is meant is held out with all of its rows.

    Args:
        labels: Label of each row; None where unknown.
        groups: Unique specimen key of each row.
        names: Labels, genera (first word of a label), or ``column=value``.
        columns: The columns of the latter, a value for each row; None where unknown.
        absent_ok: Pass over names that no row has: another folder than the one trained on.

    Raises:
        SplitError: If a name means no row, or no row would be left.
    """
    meant = np.zeros(len(labels), dtype=bool)
    for name in names:
        try:
            meant |= named_rows(name, labels, columns or {})
        except SplitError:
            if not absent_ok:
                raise
    specimens = {group for group, one in zip(groups, meant.tolist(), strict=True) if one}
    out = np.array([group in specimens for group in groups], dtype=bool)
    if out.size and out.all():
        raise SplitError(
            f"data.split.hold_out={list(names)} holds out every specimen, so that none is left to "
            f"train on. {_exist(sorted({x for x in labels if x is not None}))} Hold out fewer."
        )
    return out


def _exist(labels: Sequence[str]) -> str:
    if not labels:
        return "The specimens have no labels (data.labels), so nothing can be held out by name."
    return f"Labels: {shortened(labels)}."


def shortened(names: Sequence[str]) -> str:
    """Join names by commas, and say how many are left out beyond the first 12."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


PARTS = ("train", "validation", "test")
HELD_OUT = "held_out"
Indices: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Split:
    """Which rows of a catalogue belong to which part.

    Args:
        train: Row indices of the training part, ascending.
        validation: Row indices that searches, pruning and early stopping look at, ascending.
        test: Row indices that nothing is chosen on, ascending.
        hash: Twelve hex digits of what lies in which part; the order of rows does not matter.
        held_out: Row indices of what is in none of the parts, ascending.
        groups: Group of each row, ``(N,)``, where more than a specimen stays together
            (``data.split.group``); None where it is the specimen.
    """

    train: Indices
    validation: Indices
    test: Indices
    hash: str
    held_out: Indices = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    groups: tuple[str, ...] | None = None

    def parts(self) -> dict[str, Indices]:
        """Return the three parts by name, in the order train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def grouped_split(
    labels: Sequence[str | None],
    groups: Sequence[str],
    *,
    fractions: Sequence[float] = (0.5, 0.25, 0.25),
    seed: int,
    keys: Sequence[str] | None = None,
    hold_out: Sequence[str] = (),
    absent_ok: bool = False,
    rotation: Rotation | None = None,
    columns: Columns | None = None,
    grouping: Grouping | None = None,
) -> Split:
    """Split rows so that all rows of one specimen fall on one side and labels keep their shares.

    Where each specimen has one label, its label's specimens are allotted exactly: shares are
    rounded by largest remainder (earlier parts first), and no part is left empty that could have
    one. Where a specimen carries several labels, StratifiedGroupKFold deals whole folds. Rows
    without a label are grouped and allotted alike, but no part must hold one.

    Args:
        labels: Label of each row, ``(N,)``; None where unknown.
        groups: Unique specimen key of each row, ``(N,)``.
        fractions: Shares of train, validation and test; each above 0, together 1.
        seed: Chooses which specimens go where. The choice depends on label, specimen and seed
            only: not on the order of rows, nor on the other labels.
        keys: What the hash names rows by (file names); without them the specimen and label.
        hold_out: What goes into no part, with its specimens: see :func:`held_out_rows`. Where
            specimens have one label each, the others fall where they fall without it.
        absent_ok: Pass over names in ``hold_out`` that no row has.
        rotation: One of K equal parts is tested, one is validation, and the others train, in place
            of the fractions: :mod:`hyperspec.datasets.rotation`. What is held out then decides
            which of the other specimens' parts are larger by one.
        columns: Columns that ``hold_out`` may name, a value for each row.
        grouping: Groups of specimens that fall on one side as a whole; None for single specimens.

    Raises:
        ConfigError: If the fractions are not three positive shares that add up to 1.
        SplitError: If a label or, without labels, the data cannot fill all three parts, or
            ``hold_out`` names what no label is or leaves nothing.
    """
    shares = _checked_fractions(fractions)
    if not len(labels) == len(groups) == len(groups if keys is None else keys):
        raise ValueError(
            f"labels ({len(labels)}), groups ({len(groups)}) and keys must have one entry per row."
        )
    out = held_out_rows(labels, groups, hold_out, columns, absent_ok=absent_ok)
    every = zip(groups, labels, out, strict=True)
    pairs = sorted({(group, label) for group, label, gone in every if not gone}, key=_pair_key)
    if grouping is not None:
        part_of = _allot_groups(pairs, groups, grouping, rotation, shares, seed)
    elif rotation is not None:
        part_of = rotated(pairs, rotation, seed)
    else:
        part_of = _allot_specimens(pairs, shares, seed, fractions)
    # A held-out specimen has no part: it gets the number after the last one.
    rows = np.array([part_of.get(group, len(PARTS)) for group in groups], dtype=np.intp)
    train, validation, test, held_out = (np.flatnonzero(rows == part) for part in range(4))
    kept = None if grouping is None else grouping.keys
    return Split(train, validation, test, _hash(rows, labels, groups, keys), held_out, kept)


def _checked_fractions(fractions: Sequence[float]) -> tuple[Fraction, ...]:
    wrong = len(fractions) != 3 or not all(math.isfinite(f) and f > 0 for f in fractions)
    if wrong or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"data.split.fractions is {list(fractions)}; give three shares above 0 for train, "
            "validation and test that add up to 1, for example [0.5, 0.25, 0.25]."
        )
    # Decimal shares are meant exactly: 0.15 of 20 specimens is 3, whatever the binary rounding.
    shares = [Fraction(str(f)).limit_denominator(10_000) for f in fractions]
    return tuple(share / sum(shares) for share in shares)


def _pair_key(pair: Pair) -> tuple[str, bool, str]:
    return pair[0], pair[1] is not None, pair[1] or ""


def _allot_groups(
    pairs: Sequence[Pair],
    specimens: Sequence[str],
    grouping: Grouping,
    rotation: Rotation | None,
    shares: Sequence[Fraction],
    seed: int,
) -> dict[str, int]:
    """Give whole groups a part, or in a rotation a role."""
    if rotation is None:
        return grouping.deal(pairs, specimens, shares, seed)
    equal = [Fraction(1, rotation.num_parts)] * rotation.num_parts
    dealt = grouping.deal(pairs, specimens, equal, seed)
    return {specimen: rotation.role(part) for specimen, part in dealt.items()}


def _allot_specimens(
    pairs: Sequence[Pair], shares: Sequence[Fraction], seed: int, fractions: Sequence[float]
) -> dict[str, int]:
    allot = _allot if has_one_label_each(pairs) else _allot_mixed
    part_of = allot(pairs, shares, seed)
    _check_coverage(pairs, part_of, fractions)
    return part_of


def _allot(pairs: Sequence[Pair], shares: Sequence[Fraction], seed: int) -> dict[str, int]:
    """Give each specimen a part, label by label, at exact counts."""
    part_of: dict[str, int] = {}
    for specimens in ranked(pairs, seed).values():
        counts = part_counts(len(specimens), shares)
        parts = np.repeat(range(3), counts).tolist()
        part_of.update(zip(specimens, parts, strict=True))
    return part_of


def part_counts(total: int, shares: Sequence[Fraction]) -> list[int]:
    """Divide a whole number by shares: largest remainder, at least one each where possible.

    Args:
        total: Number of specimens, 0 or more.
        shares: Positive shares that add up to 1; on equal remainders the earlier part gains.
    """
    exact = [total * share for share in shares]
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda part: (counts[part] - exact[part], part))
    for part in by_remainder[: total - sum(counts)]:
        counts[part] += 1
    while total >= len(shares) and 0 in counts:
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(0)] += 1
    return counts


def _allot_mixed(pairs: Sequence[Pair], shares: Sequence[Fraction], seed: int) -> dict[str, int]:
    """Give each specimen a part where specimens carry several labels: deal out whole folds."""
    num_folds, most = math.lcm(*(share.denominator for share in shares)), most_specimens(pairs)
    if num_folds > most:
        raise SplitError(
            f"data.split.fractions needs {num_folds} equal folds, because specimens carry several "
            f"labels each, but no label has more than {most} specimens. Choose rounder fractions, "
            "for example [0.5, 0.25, 0.25], which needs 4."
        )
    parts = np.repeat(range(3), [int(share * num_folds) for share in shares]).tolist()
    return {group: parts[fold] for group, fold in folds(pairs, num_folds, seed).items()}


def _check_coverage(
    pairs: Sequence[Pair], part_of: Mapping[str, int], fractions: Sequence[float]
) -> None:
    found: dict[str, list[int]] = {}
    for group, label in pairs:
        if label is not None:
            found.setdefault(label, [0, 0, 0])[part_of[group]] += 1
    lacking = [label for label in sorted(found) if 0 in found[label]]
    if lacking:
        label = lacking[0]
        part, total = PARTS[found[label].index(0)], sum(found[label])
        others = f" ({len(lacking) - 1} more labels lack one too)" if len(lacking) > 1 else ""
        raise SplitError(
            f"Label {label!r} has {total} specimen{'s' * (total != 1)}, and none falls in the "
            f"{part} part{others} at data.split.fractions={list(fractions)}. Every label needs a "
            "specimen in train, validation and test, so at least 3: add specimens of it, give its "
            "cubes another label, or take them out of the folder."
        )
    filled = set(part_of.values())
    if len(filled) < 3:
        part = next(name for i, name in enumerate(PARTS) if i not in filled)
        raise SplitError(
            f"{len(part_of)} specimen{'s' * (len(part_of) != 1)} leave the {part} part empty at "
            f"data.split.fractions={list(fractions)}: all rows of a specimen stay together, so at "
            "least 3 specimens are needed. Add cubes, or use smaller spatial blocks for tiles."
        )


def _hash(
    rows: Indices,
    labels: Sequence[str | None],
    groups: Sequence[str],
    keys: Sequence[str] | None,
) -> str:
    lines = sorted(
        repr(((*PARTS, HELD_OUT)[part], groups[i], labels[i], None if keys is None else keys[i]))
        for i, part in enumerate(rows)
    )
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=6).hexdigest()
