"""What is held out falls into no part, by label or genus, and with all of its specimen's rows."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hyperspec.datasets.splits import grouped_split, is_held_out
from hyperspec.utils.errors import SplitError

NAMES = ["Papilio machaon", "Papilio ulysses", "Papiliona rara", "Vanessa io", "Morpho"]
LABELS = [name for name in NAMES for _ in range(16)]
GROUPS = [f"{label}/{i // 2}" for i, label in enumerate(LABELS)]  # two views of each specimen


@pytest.mark.parametrize(
    ("names", "out"),
    [
        (["Papilio"], {"Papilio machaon", "Papilio ulysses"}),
        (["Papilio ulysses"], {"Papilio ulysses"}),
        (["Morpho", "Vanessa"], {"Morpho", "Vanessa io"}),
    ],
)
def test_labels_and_genera_fall_into_no_part(names: list[str], out: set[str]) -> None:
    split = grouped_split(LABELS, GROUPS, seed=0, hold_out=names)
    expected = [row for row, label in enumerate(LABELS) if label in out]
    assert split.held_out.tolist() == expected
    seen = np.concatenate(list(split.parts().values())).tolist()
    assert sorted([*seen, *expected]) == list(range(len(LABELS)))


def test_the_others_fall_where_they_fell() -> None:
    whole = grouped_split(LABELS, GROUPS, seed=5)
    split = grouped_split(LABELS, GROUPS, seed=5, hold_out=["Papilio"])
    out = set(split.held_out.tolist())
    for part, rows in split.parts().items():
        assert rows.tolist() == [row for row in whole.parts()[part] if row not in out]
    assert whole.held_out.size == 0


def test_the_hash_covers_what_is_held_out() -> None:
    splits = [
        grouped_split(LABELS, GROUPS, seed=0, hold_out=names)
        for names in ([], ["Morpho"], ["Vanessa"], ["Vanessa io"])
    ]
    hashes = [split.hash for split in splits]
    assert len(set(hashes)) == 3
    assert hashes[2] == hashes[3], "the same rows by another name"


def test_a_specimen_of_two_labels_is_held_out_whole() -> None:
    labels = ["a b", "c d"] * 8 + ["c d"] * 24
    groups = [f"s{i // 2}" for i in range(40)]
    split = grouped_split(labels, groups, seed=0, hold_out=["a"])
    assert split.held_out.tolist() == list(range(16))


def test_names_that_no_label_has() -> None:
    text = (
        "data.split.hold_out names 'Pap', which is neither a label nor the first word of one. "
        "Labels: Morpho, Papilio machaon, Papilio ulysses, Papiliona rara, Vanessa io."
    )
    with pytest.raises(SplitError, match=re.escape(text)):
        grouped_split(LABELS, GROUPS, seed=0, hold_out=["Morpho", "Pap"])
    split = grouped_split(LABELS, GROUPS, seed=0, hold_out=["Morpho", "Pap"], absent_ok=True)
    assert split.hash == grouped_split(LABELS, GROUPS, seed=0, hold_out=["Morpho"]).hash


SESSIONS = [str(i // 2 % 4) for i in range(len(LABELS))]


def test_a_column_and_its_value_are_held_out_with_whole_specimens() -> None:
    days = list(SESSIONS)
    days[1] = "9"  # the other view of the first specimen
    for name, first in (("day=0", True), ("day=9", True), ("day=1", False)):
        split = grouped_split(LABELS, GROUPS, seed=0, hold_out=[name], columns={"day": days})
        out = {GROUPS[row] for row in split.held_out}
        value = name.partition("=")[2]
        assert out == {GROUPS[i] for i, day in enumerate(days) if day == value}
        assert (GROUPS[0] in out) is first
    both = grouped_split(
        LABELS, GROUPS, seed=0, hold_out=["day=1", "Morpho"], columns={"day": SESSIONS}
    )
    assert {LABELS[i] for i in both.held_out} == set(NAMES)


def test_a_label_with_an_equals_sign_is_a_label() -> None:
    labels = ["day=1" if label == "Morpho" else label for label in LABELS]
    split = grouped_split(labels, GROUPS, seed=0, hold_out=["day=1"], columns={"day": SESSIONS})
    assert {LABELS[i] for i in split.held_out} == {"Morpho"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("day=7", "names 'day=7', but no image has the day '7'. There are: 0, 1, 2, 3."),
        ("dya=1", "names 'dya=1', but the labels have no column 'dya'. Columns: day."),
    ],
)
def test_values_and_columns_that_are_not_there(name: str, text: str) -> None:
    columns = {"day": SESSIONS}
    with pytest.raises(SplitError, match=re.escape(f"data.split.hold_out {text}")):
        grouped_split(LABELS, GROUPS, seed=0, hold_out=[name], columns=columns)
    options = {"columns": columns, "absent_ok": True}
    split = grouped_split(LABELS, GROUPS, seed=0, hold_out=[name], **options)
    assert split.held_out.size == 0


def test_without_labels_nothing_has_a_name() -> None:
    with pytest.raises(SplitError, match=r"no labels \(data\.labels\), so nothing can be held out"):
        grouped_split([None] * 8, list("aabbccdd"), seed=0, hold_out=["a"])


def test_something_must_be_left() -> None:
    names = ["Papilio", "Papiliona", "Vanessa", "Morpho"]
    with pytest.raises(SplitError, match="holds out every specimen, so that none is left to train"):
        grouped_split(LABELS, GROUPS, seed=0, hold_out=names)


def test_a_name_is_a_whole_label_or_its_whole_first_word() -> None:
    assert is_held_out("Papilio machaon", ["Papilio"])
    assert not is_held_out("Papiliona rara", ["Papilio"])
    assert not is_held_out("Papilio machaon", ["machaon"])
    assert not is_held_out(None, ["Papilio"])
    assert not is_held_out("", ["Papilio"])
