"""Genera and labels that training must not see: which rows they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hyperspec.utils.errors import SplitError

_SHOWN = 12  # names in a message


def genus_of(label: str) -> str:
    """Return the first word of a label, ``Papilio`` of ``Papilio machaon``."""
    return label.split(maxsplit=1)[0] if label.strip() else label


def is_held_out(label: str | None, names: Sequence[str]) -> bool:
    """Say whether one of the names is the label or its first word; without a label it is not."""
    return label is not None and (label in names or genus_of(label) in names)


def held_out_rows(
    labels: Sequence[str | None],
    groups: Sequence[str],
    names: Sequence[str],
    *,
    absent_ok: bool = False,
) -> NDArray[np.bool_]:
    """Return which rows are held out, ``(N,)``.

    A specimen of which one row has such a label is held out with all of its rows.

    Args:
        labels: Label of each row; None where unknown.
        groups: Unique specimen key of each row.
        names: Labels, or genera (first word of a label).
        absent_ok: Pass over names that no row has: another folder than the one trained on.

    Raises:
        SplitError: If no label is or starts with a name, or no row would be left.
    """
    known = sorted({label for label in labels if label is not None})
    for name in names:
        if not absent_ok and not any(is_held_out(label, [name]) for label in known):
            raise SplitError(
                f"data.split.hold_out names '{name}', which is neither a label nor the first word "
                f"of one. {_exist(known)}"
            )
    specimens = {
        group for group, label in zip(groups, labels, strict=True) if is_held_out(label, names)
    }
    out = np.array([group in specimens for group in groups], dtype=bool)
    if out.size and out.all():
        raise SplitError(
            f"data.split.hold_out={list(names)} holds out every specimen, so that none is left to "
            f"train on. {_exist(known)} Hold out fewer."
        )
    return out


def _exist(labels: Sequence[str]) -> str:
    if not labels:
        return "The specimens have no labels (data.labels), so nothing can be held out by name."
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return f"Labels: {', '.join(labels[:_SHOWN])}{more}."
