"""Rotating parts: each specimen tested once, parts alike in size, labels in what trains."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_splits import specimens

from hyperspec.datasets.config import SplitSpec
from hyperspec.datasets.rotation import Rotation
from hyperspec.datasets.splits import Split, grouped_split
from hyperspec.utils.errors import ConfigError, SplitError


def all_rotations(
    labels: list, groups: list[str], count: int, seed: int = 0, **more
) -> list[Split]:
    return [
        grouped_split(labels, groups, seed=seed, rotation=Rotation(count, turn), **more)
        for turn in range(count)
    ]


def sets(split: Split, groups: list[str]) -> dict[str, set[str]]:
    return {name: {groups[row] for row in rows} for name, rows in split.parts().items()}


@settings(max_examples=60, deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from("abcde"), st.integers(3, 11), min_size=2),
    unlabelled=st.integers(0, 5),
    views=st.integers(1, 3),
    seed=st.integers(0, 5),
    count=st.integers(3, 6),
)
def test_each_specimen_is_tested_once_and_parts_are_balanced(
    counts: dict[str, int], unlabelled: int, views: int, seed: int, count: int
) -> None:
    per_label: dict[str | None, int] = {**counts, **({None: unlabelled} if unlabelled else {})}
    labels, groups = specimens(per_label, views)
    label_of = dict(zip(groups, labels, strict=True))
    splits = all_rotations(labels, groups, count, seed)
    found = [sets(split, groups) for split in splits]
    tested = Counter(group for parts in found for group in parts["test"])
    assert tested == dict.fromkeys(groups, 1)
    for parts, after in pairwise([*found, found[0]]):
        assert parts["validation"] == after["test"]
        assert set().union(*parts.values()) == set(groups)
        assert sum(map(len, parts.values())) == len(set(groups))
        assert {label_of[group] for group in parts["train"]} >= set(counts)
    sizes = [len(parts["test"]) for parts in found]
    assert max(sizes) - min(sizes) <= 1
    for label in per_label:
        own = [sum(label_of[group] == label for group in parts["test"]) for parts in found]
        assert max(own) - min(own) <= 1
    assert len({split.hash for split in splits}) == count
    backwards = [split.hash for split in all_rotations(labels[::-1], groups[::-1], count, seed)]
    assert backwards == [split.hash for split in splits]


def test_the_hash_is_of_what_lies_where_however_it_was_dealt() -> None:
    labels, groups = specimens({"a": 8, "b": 8})
    split = grouped_split(labels, groups, seed=0, rotation=Rotation(4, 1))
    parts = np.full(len(labels), -1)
    for number, rows in enumerate(split.parts().values()):
        parts[rows] = number
    assert sorted(Counter(parts.tolist()).values()) == [8, 8, 16]
    other = grouped_split(labels, groups, seed=1, rotation=Rotation(4, 1))
    assert other.hash != split.hash
    assert grouped_split(labels, groups, seed=0).hash != split.hash


def test_one_specimen_more_moves_few_of_its_label() -> None:
    labels, groups = specimens({"a": 40})
    before = all_rotations(labels, groups, 4)
    after = all_rotations([*labels, "a"], [*groups, "a/new"], 4)
    moved = sum(
        len(sets(one, groups)["test"] - sets(two, [*groups, "a/new"])["test"])
        for one, two in zip(before, after, strict=True)
    )
    assert moved <= 3  # at most one over each border between two parts


def test_what_is_held_out_is_in_no_part_of_any_rotation() -> None:
    labels, groups = specimens({"Papilio a": 5, "Papilio b": 4, "Vanessa c": 7, "Vanessa d": 6})
    splits = all_rotations(labels, groups, 4, hold_out=["Papilio"])
    for split in splits:
        assert {labels[row] for row in split.held_out} == {"Papilio a", "Papilio b"}
        used = np.concatenate(list(split.parts().values()))
        assert not set(used) & set(split.held_out)
    sizes = [len(sets(split, groups)["test"]) for split in splits]
    assert sorted(sizes) == [3, 3, 3, 4]


def test_specimens_of_several_labels_are_dealt_in_folds() -> None:
    # Each specimen has a dorsal and a ventral row, and the view is the label.
    groups = [f"s{number}" for number in range(12) for _ in "DV"]
    labels = ["D", "V"] * 12
    splits = all_rotations(labels, groups, 4)
    tested = Counter(group for split in splits for group in sets(split, groups)["test"])
    assert tested == dict.fromkeys(groups, 1)
    assert [len(split.test) for split in splits] == [6, 6, 6, 6]


@pytest.mark.parametrize("turn", range(4))
def test_a_label_of_two_specimens_is_refused_by_every_rotation(turn: int) -> None:
    labels, groups = specimens({"a": 8, "rare": 2})
    with pytest.raises(
        SplitError,
        match=re.escape(
            "Label 'rare' has 2 specimens, and a rotation of data.split.rotate=4 would train on "
            "none of them: test and validation take two parts. Every label needs specimens in 3 "
            "parts: add specimens of it"
        ),
    ):
        grouped_split(labels, groups, seed=0, rotation=Rotation(4, turn))


def test_more_parts_than_specimens_are_refused() -> None:
    labels, groups = specimens({"a": 3, "b": 3, None: 4})
    assert len(all_rotations(labels, groups, 6)) == 6
    with pytest.raises(
        SplitError,
        match=r"data\.split\.rotate=8 leaves a part empty: there are 6 labelled specimens",
    ):
        all_rotations(labels, groups, 8)
    unlabelled = [None] * 4
    with pytest.raises(SplitError, match="there are 4 specimens, and all rows"):
        all_rotations(unlabelled, list("wxyz"), 5)
    with pytest.raises(SplitError, match=r"no label has more than 3\. Give data\.split\.rotate=3"):
        all_rotations(["D", "V"] * 3, list("aabbcc"), 4)


@pytest.mark.parametrize(
    ("given_keys", "text"),
    [
        ({"rotate": 2}, "data.split.rotate is 2; give at least 3 parts"),
        ({"rotate": 4, "rotation": 4}, "data.split.rotation is 4, but data.split.rotate=4 has"),
        ({"rotate": 4, "rotation": -1}, "data.split.rotation is -1, but data.split.rotate=4 has"),
        ({"rotation": 0}, "data.split.rotation is 0, but data.split.rotate is null"),
    ],
)
def test_wrong_keys_are_refused(given_keys: dict[str, int], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        SplitSpec(**given_keys)


def test_a_job_has_to_say_which_rotation_it_is() -> None:
    assert SplitSpec().turn is None
    assert SplitSpec(rotate=4, rotation=2).turn == Rotation(4, 2)
    with pytest.raises(ConfigError, match=r"data\.split\.rotation=0 \(to 3\)"):
        _ = SplitSpec(rotate=4).turn
    assert SplitSpec(rotate=4).train_share == 0.5
    assert SplitSpec(rotate=10, rotation=0).train_share == pytest.approx(0.8)
