"""Whole sessions on one side of a split: components, shares, errors with a way out."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.datasets.grouping import Grouping
from hyperspec.datasets.rotation import Rotation
from hyperspec.datasets.splits import Split, grouped_split
from hyperspec.utils.errors import SplitError


def rows(
    share: float = 0.75, size: int = 64, num_sessions: int = 8
) -> tuple[list[str], list[str], list[str]]:
    """Labels, specimens and sessions of two views each; half of the sessions favour each label."""
    labels, specimens, days = [], [], []
    for i in range(size):
        session, place = i % num_sessions, i // num_sessions
        favoured = place < share * size / num_sessions
        labels += ["ab"[(session % 2) ^ (not favoured)]] * 2
        specimens += [str(i)] * 2
        days += [f"s{session}"] * 2
    return labels, specimens, days


def split_of(labels, specimens, days, seed=0, **options) -> Split:
    grouping = Grouping.of("session", specimens, {"session": days})
    return grouped_split(labels, specimens, seed=seed, grouping=grouping, **options)


def sides(split: Split, values: list[str]) -> list[set[str]]:
    return [{values[i] for i in part} for part in (*split.parts().values(), split.held_out)]


def test_eight_sessions_fall_whole_and_labels_keep_their_shares() -> None:
    labels, specimens, days = rows()
    seen = set()
    for seed in range(12):
        split = split_of(labels, specimens, days, seed)
        train, validation, test, _ = sides(split, days)
        assert [len(train), len(validation), len(test)] == [4, 2, 2]
        assert not train & validation and not train & test and not validation & test  # noqa: PT018
        counts = [Counter(labels[i] for i in part) for part in split.parts().values()]
        # Two sessions of each kind, then one of each: exact shares can be had, so they are.
        assert counts == [Counter(a=32, b=32), Counter(a=16, b=16), Counter(a=16, b=16)]
        seen.add(split.hash)
    assert len(seen) > 6, "seeds give different splits"


def test_the_order_of_rows_changes_nothing_and_the_seed_repeats() -> None:
    labels, specimens, days = rows(share=0.6, size=61)
    first = split_of(labels, specimens, days, 3, keys=[str(i) for i in range(122)])
    order = np.random.default_rng(0).permutation(122)
    mixed = [[values[i] for i in order] for values in (labels, specimens, days)]
    again = split_of(*mixed, 3, keys=[str(i) for i in order])
    assert again.hash == first.hash
    assert again.groups == tuple(mixed[2])


def test_a_specimen_of_two_sessions_joins_them() -> None:
    specimens = ["1", "1", "2", "3", "4"]
    grouping = Grouping.of("session", specimens, {"session": ["a", "b", "b", "c", "d"]})
    assert grouping.keys == ("a +1", "a +1", "a +1", "c", "d")
    assert grouping.holds(["x", "x", "x", "y", None])
    assert not grouping.holds(["x", "x", "x", "x", "z"])


def test_without_groups_split_and_hash_are_what_they_were() -> None:
    labels, specimens, days = rows()
    split = grouped_split(labels, specimens, seed=0, columns={"session": days})
    assert split.hash == "6f07c79177fc"
    assert split.groups is None


@settings(deadline=None, max_examples=40)
@given(
    assigned=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 9)), min_size=40, max_size=80
    ),
    seed=st.integers(-3, 99),
)
def test_any_groups(assigned: list[tuple[str, int]], seed: int) -> None:
    labels = [label for label, _ in assigned]
    days = [f"s{day}" for _, day in assigned]
    specimens = [str(i) for i in range(len(labels))]
    try:
        split = split_of(labels, specimens, days, seed)
    except SplitError:
        # Two labels over ten days of at least 40 specimens: only where a label has too few days.
        assert min(len({d for x, d in zip(labels, days, strict=True) if x == y}) for y in "ab") < 6
        return
    found = sides(split, days)
    assert sum(map(len, found)) == len(set(days))
    assert all({labels[i] for i in part} == set(labels) for part in split.parts().values())


def test_a_rare_label_in_three_sessions_gets_all_three_parts() -> None:
    labels, specimens, days = rows()
    for i in (0, 2, 4):  # specimens 0, 1, 2 lie in sessions 0, 1, 2
        labels[i] = labels[i + 1] = "rare"
    for seed in range(10):
        split = split_of(labels, specimens, days, seed)
        assert all("rare" in {labels[i] for i in part} for part in split.parts().values())


def test_other_numbers_of_parts() -> None:
    labels, specimens, days = rows()
    grouping = Grouping.of("session", specimens, {"session": days})
    pairs = sorted(set(zip(specimens, labels, strict=True)))
    dealt = grouping.deal(pairs, specimens, [Fraction(1, 4)] * 4, 0)
    assert Counter(dealt.values()) == {0: 16, 1: 16, 2: 16, 3: 16}
    assert set(dealt) == set(specimens)


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (["s1", "s2"] * 32, "makes 2 groups (specimens that share a session, and all that they"),
        (
            ["s1", "s2"] * 16 + ["s3", "s4"] * 16,
            "Label 'a' occurs in 2 groups of data.split.group=session (1 more labels are as rare), "
            "but each of the 3 parts needs one.",
        ),
    ],
)
def test_too_few_groups_are_refused_with_a_way_out(days: list[str], text: str) -> None:
    labels = ["a"] * 32 + ["b"] * 32
    with pytest.raises(SplitError, match=re.escape(text)) as caught:
        split_of(labels, [str(i) for i in range(64)], days)
    assert "data.split.group=null" in str(caught.value)


def test_labels_that_no_dealing_can_spread() -> None:
    """Each label lies in three of six groups, and no dealing gives all of them three parts."""
    # Groups are the lines of the Fano plane, labels its points: a dealing to three parts with all
    # points in all parts would have to colour the lines, three per point, all differently.
    lines = ["abc", "ade", "afg", "bdf", "beg", "cdg", "cef"]
    labels = [label for line in lines for label in line]
    days = [f"s{i}" for i, line in enumerate(lines) for _ in line]
    with pytest.raises(SplitError, match="in none of 256 ways to deal them to 3 parts"):
        split_of(labels, [str(i) for i in range(21)], days)


def test_missing_values_and_columns_are_refused() -> None:
    with pytest.raises(SplitError, match=r"group is session, but 1 of 3 images have no"):
        Grouping.of("session", list("abc"), {"session": ["1", None, "2"]})
    with pytest.raises(SplitError, match=r"labels do not have\. Their columns: date, view"):
        Grouping.of("session", list("abc"), {"view": [None] * 3, "date": [None] * 3})


def test_what_is_held_out_leaves_its_session_to_the_others() -> None:
    labels, specimens, days = rows()
    split = split_of(labels, specimens, days, hold_out=["b"])
    assert {labels[i] for i in split.held_out} == {"b"}
    assert len(split.held_out) == labels.count("b")
    train, validation, test, _ = sides(split, days)
    assert len(train | validation | test) == 8
    assert not train & test
    columns = {"session": days}
    split = split_of(labels, specimens, days, hold_out=["session=s3"], columns=columns)
    assert sides(split, days)[3] == {"s3"}


def test_sessions_are_tested_whole_once_in_a_rotation() -> None:
    labels, specimens, days = rows()
    splits = [split_of(labels, specimens, days, rotation=Rotation(4, turn)) for turn in range(4)]
    tested: list[str] = []
    for split in splits:
        train, validation, test, _ = sides(split, days)
        assert not train & validation and not train & test and not validation & test  # noqa: PT018
        assert [len(train), len(validation), len(test)] == [4, 2, 2]
        tested += sorted(test)
    assert sorted(tested) == [f"s{number}" for number in range(8)]
