"""Splits: exact shares, no specimen on two sides, independence of the order of rows."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from hyperspec.datasets.splits import PARTS, Split, grouped_split, part_counts
from hyperspec.utils.errors import ConfigError, SplitError


def specimens(per_label: dict[str, int], views: int = 2) -> tuple[list[str], list[str]]:
    """Labels and specimen keys; numbers recur across labels, as in the mission's files."""
    rows = [
        (label, f"{label}/{number}")
        for label, count in per_label.items()
        for number in range(count)
        for _ in range(views)
    ]
    return [label for label, _ in rows], [group for _, group in rows]


def count_specimens(split: Split, labels: list[str], groups: list[str]) -> dict[str, Counter]:
    return {
        name: Counter(label for label, _ in {(labels[i], groups[i]) for i in rows})
        for name, rows in split.parts().items()
    }


def test_sixteen_specimens_give_eight_four_four_of_every_species():
    labels, groups = specimens(dict.fromkeys("abcdefgh", 16))
    split = grouped_split(labels, groups, seed=0)
    counts = count_specimens(split, labels, groups)
    assert counts["train"] == dict.fromkeys("abcdefgh", 8)
    assert counts["validation"] == counts["test"] == dict.fromkeys("abcdefgh", 4)
    assert len(split.train) == 128


def test_counts_equal_those_of_stratified_group_k_fold_where_folds_divide_evenly():
    labels, groups = specimens({"a": 12, "b": 8, "c": 20})
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=3)
    fold_counts = [
        Counter(labels[i] for i in test) for _, test in folds.split(labels, labels, groups)
    ]
    split = grouped_split(labels, groups, seed=3)
    ours = [Counter(labels[i] for i in rows) for rows in split.parts().values()]
    assert ours == [fold_counts[0] + fold_counts[1], fold_counts[2], fold_counts[3]]


@pytest.mark.parametrize(
    ("total", "shares", "expected"),
    [
        (3, "1/2 1/4 1/4", [1, 1, 1]),
        (5, "1/2 1/4 1/4", [3, 1, 1]),
        (12, "7/10 3/20 3/20", [8, 2, 2]),
        (10, "9/10 1/20 1/20", [8, 1, 1]),
        (7, "1/3 1/3 1/3", [3, 2, 2]),
        (2, "1/2 1/4 1/4", [1, 1, 0]),
        (0, "1/2 1/4 1/4", [0, 0, 0]),
    ],
)
def test_part_counts_by_hand(total, shares, expected):
    assert part_counts(total, [Fraction(share) for share in shares.split()]) == expected


@settings(max_examples=50, deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from("abcde"), st.integers(3, 9), min_size=1),
    unlabelled=st.integers(0, 4),
    views=st.integers(1, 3),
    seed=st.integers(0, 5),
    fractions=st.sampled_from([(0.5, 0.25, 0.25), (0.6, 0.2, 0.2), (0.7, 0.15, 0.15)]),
    data=st.data(),
)
def test_any_data_set(counts, unlabelled, views, seed, fractions, data):
    labels, groups = specimens(counts, views)
    labels = labels + [None] * unlabelled
    groups = groups + [f"loose/{i}" for i in range(unlabelled)]
    keys = [f"{group}_{i % views}" for i, group in enumerate(groups)]
    split = grouped_split(labels, groups, fractions=fractions, seed=seed, keys=keys)
    parts = split.parts()
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(labels)))
    assert all(np.all(np.diff(rows) > 0) for rows in parts.values())
    sides = {name: {groups[i] for i in rows} for name, rows in parts.items()}
    assert not sides["train"] & sides["validation"] | sides["train"] & sides["test"]
    assert not sides["validation"] & sides["test"]
    for name in PARTS:
        assert {labels[i] for i in parts[name]} >= set(counts)
    for label, total in counts.items():
        for share, name in zip(fractions, PARTS, strict=True):
            inside = len(
                {g for i, g in enumerate(groups) if i in parts[name] and labels[i] == label}
            )
            assert abs(inside - share * total) < 1 or inside == 1 or name == "train"

    order = data.draw(st.permutations(range(len(labels))))
    again = grouped_split(
        [labels[i] for i in order],
        [groups[i] for i in order],
        fractions=fractions,
        seed=seed,
        keys=[keys[i] for i in order],
    )
    assert again.hash == split.hash
    for name, rows in again.parts().items():
        assert {groups[order[i]] for i in rows} == sides[name]


def test_seed_changes_the_split_and_repeats_it():
    labels, groups = specimens({"a": 16, "b": 16})
    first, same, other = (grouped_split(labels, groups, seed=s) for s in (0, 0, 1))
    assert first.hash == same.hash
    np.testing.assert_array_equal(first.test, same.test)
    assert first.hash != other.hash
    assert first.test.tolist() != other.test.tolist()


def test_another_label_in_the_folder_moves_no_specimen():
    labels, groups = specimens({"a": 8, "b": 8})
    more_labels, more_groups = specimens({"a": 8, "b": 8, "c": 5})
    few = grouped_split(labels, groups, seed=2)
    many = grouped_split(more_labels, more_groups, seed=2)
    assert {groups[i] for i in few.test} == {
        more_groups[i] for i in many.test if more_labels[i] != "c"
    }


def test_hash_covers_the_file_keys():
    labels, groups = specimens({"a": 4}, views=1)
    files = [f"{i}.bil" for i in range(4)]
    one = grouped_split(labels, groups, seed=0, keys=files)
    two = grouped_split(labels, groups, seed=0, keys=[*files[:3], "other.bil"])
    np.testing.assert_array_equal(one.train, two.train)
    assert one.hash != two.hash


def test_without_labels_only_specimens_are_kept_together():
    groups = [f"block{i // 3}" for i in range(24)]
    split = grouped_split([None] * 24, groups, seed=0)
    assert [len(rows) for rows in split.parts().values()] == [12, 6, 6]
    assert not {groups[i] for i in split.train} & {groups[i] for i in split.test}


def test_a_label_that_varies_within_a_specimen_goes_through_stratified_group_k_fold():
    _, groups = specimens({"a": 10, "b": 6})
    labels = ["D", "V"] * 16
    split = grouped_split(labels, groups, seed=0)
    for name, expected in zip(PARTS, (8, 4, 4), strict=True):
        rows = split.parts()[name]
        assert Counter(labels[i] for i in rows) == {"D": expected, "V": expected}
        assert len({groups[i] for i in rows}) == expected


def test_a_label_with_two_specimens_is_refused_by_name():
    labels, groups = specimens({"a": 8, "rare": 2})
    message = (
        "Label 'rare' has 2 specimens, and none falls in the test part at "
        "data.split.fractions=[0.5, 0.25, 0.25]. Every label needs a specimen in train, "
        "validation and test, so at least 3: add specimens of it, give its cubes another label, "
        "or take them out of the folder."
    )
    with pytest.raises(SplitError, match=re.escape(message)):
        grouped_split(labels, groups, seed=0)


def test_several_rare_labels_are_counted():
    labels, groups = specimens({"a": 8, "r": 2, "s": 1})
    with pytest.raises(SplitError, match=r"'r' has 2 .* \(1 more labels lack one too\)"):
        grouped_split(labels, groups, seed=0)


def test_too_few_unlabelled_specimens():
    with pytest.raises(SplitError, match="2 specimens leave the test part empty"):
        grouped_split([None] * 4, ["x", "x", "y", "y"], seed=0)


def test_mixed_labels_that_would_need_more_folds_than_specimens():
    _, groups = specimens({"a": 8})
    with pytest.raises(SplitError, match=r"needs 20 equal folds, .* more than 8 specimens"):
        grouped_split(["D", "V"] * 8, groups, fractions=(0.7, 0.15, 0.15), seed=0)


@pytest.mark.parametrize(
    "fractions",
    [(0.5, 0.5, 0.0), (0.5, 0.5), (0.5, 0.3, 0.3), (1.2, -0.1, -0.1), (float("nan"),) * 3],
)
def test_fractions_are_checked(fractions):
    labels, groups = specimens({"a": 8})
    start = f"data.split.fractions is {list(fractions)}; give three shares above 0"
    with pytest.raises(ConfigError, match=re.escape(start)):
        grouped_split(labels, groups, fractions=fractions, seed=0)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"labels \(2\), groups \(1\)"):
        grouped_split(["a", "b"], ["x"], seed=0)
