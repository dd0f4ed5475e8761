"""Confounding of label and session: warned of where it is, and hardly ever where it is not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, fisher_exact

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.datasets.catalogue.confounding import (
    Association,
    associations,
    chosen_confounders,
    examine,
)
from hyperspec.datasets.catalogue.labels import CsvLabels
from hyperspec.datasets.catalogue.scan import scan
from hyperspec.evaluation.statistics.label_permutation import Units
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import ConfigError, SplitError

KEYS = [str(i) for i in range(64)]


def sessions(random: np.random.Generator, size: int, share: float) -> tuple[list[str], list[str]]:
    """Two species over eight sessions; each is scanned in its own four with probability `share`."""
    labels = np.repeat([0, 1], size // 2)
    home = np.where(random.random(size) < share, labels, 1 - labels)
    days = 4 * home + random.integers(0, 4, size)
    return [f"species {x}" for x in labels], [f"day {x}" for x in days]


def test_75_of_25_over_eight_sessions_is_warned_of_and_a_fair_draw_is_not() -> None:
    random = np.random.default_rng(0)
    draws, hits = 120, {0.75: 0, 0.5: 0}
    for share in hits:
        for _ in range(draws):
            labels, days = sessions(random, 64, share)
            coin = [f"operator {x}" for x in random.integers(0, 3, 64)]
            columns = {"session": days} if share > 0.5 else {"session": days, "operator": coin}
            hits[share] += any(one.warned for one in associations(labels, KEYS, columns))
    # What a rate of 0.8 at least, or 0.05 at most, gives in 999 of 1000 such tests.
    assert hits[0.75] >= binom.ppf(0.001, draws, 0.8)
    assert hits[0.5] <= binom.ppf(0.999, draws, 0.05)


def test_two_by_two_is_fishers_test() -> None:
    labels = ["a"] * 12 + ["b"] * 12
    lamp = ["new"] * 9 + ["old"] * 3 + ["new"] * 4 + ["old"] * 8
    (one,) = associations(labels, KEYS[:24], {"lamp": lamp})
    exact = fisher_exact([[9, 3], [4, 8]]).pvalue
    assert one.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 1999))
    assert one.accuracy == pytest.approx((9 + 8) / 24)
    assert one.chance == 0.5


def test_the_order_of_rows_and_the_number_of_views_change_nothing() -> None:
    labels, days = sessions(np.random.default_rng(3), 64, 0.75)
    (one,) = associations(labels, KEYS, {"session": days})
    order = np.random.default_rng(4).permutation(np.repeat(np.arange(64), 2))
    again = associations(
        [labels[i] for i in order], [KEYS[i] for i in order], {"session": [days[i] for i in order]}
    )
    assert again == [one]


def test_a_date_per_specimen_is_compared_by_neighbourhood() -> None:
    labels = ["a"] * 16 + ["b"] * 16
    spring = [f"2024-03-{day:02d}" for day in range(1, 17)]
    autumn = [f"2024-09-{day:02d}" for day in range(1, 17)]
    (apart,) = associations(labels, KEYS[:32], {"date": [*spring, *autumn]})
    assert apart.neighbours
    assert apart.warned
    assert apart.accuracy == 1
    assert "data.split.group=session" in apart.warning
    days = [*spring, *autumn]
    (fair,) = associations(labels, KEYS[:32], {"date": days[::2] + days[1::2]})
    assert not fair.warned
    # Numbers too; as text 10 would stand before 9.
    counts = [str(i) for i in range(32)]
    (numbers,) = associations(labels, KEYS[:32], {"scan_number": counts})
    assert numbers.accuracy == 1


@pytest.mark.parametrize(("count", "expected"), [(10, 2), (15, 2), (16, 2), (24, 3), (40, 5)])
def test_neighbourhoods_have_eight_specimens_and_there_are_two_at_least(
    count: int, expected: int
) -> None:
    numbers = [str(i) for i in range(count)]
    found = Units.of(["a"] * count, KEYS[:count], numbers).neighbourhoods()
    assert found is not None
    assert len(found.level_names) == expected


def test_an_operator_per_specimen_cannot_be_tested() -> None:
    names = [f"operator {chr(97 + i)}" for i in range(8)]
    (one,) = associations(list("aaaabbbb"), KEYS[:8], {"operator": names})
    assert (one.reason, one.warned) == ("fewer than two values have two specimens", False)
    assert one.text == "operator: fewer than two values have two specimens"


def test_single_dates_hide_nothing() -> None:
    """Those that are alone with their date say nothing, and leave what the others say."""
    labels = ["a"] * 20 + ["b"] * 20
    days = ["one"] * 16 + [f"x{i}" for i in range(4)] + ["two"] * 16 + [f"y{i}" for i in range(4)]
    (one,) = associations(labels, KEYS[:40], {"session": days})
    assert one.warned
    # The others are guessed by the most common label of the rest, which is the other one.
    assert one.accuracy == pytest.approx(32 / 40)


def test_missing_values_and_labels_are_left_out() -> None:
    labels: list[str | None] = ["a"] * 10 + ["b"] * 10 + [None] * 4
    days: list[str | None] = ["1"] * 8 + [None] * 2 + ["2"] * 10 + ["3"] * 4
    (one,) = associations(labels, KEYS[:24], {"session": days})
    assert (one.num_specimens, one.num_values) == (18, 2)
    assert one.p == pytest.approx(1 / 2000)
    (none,) = associations(labels, KEYS[:24], {"session": [None] * 24})
    assert none.reason == "fewer than two labels have a value"
    (same,) = associations(labels, KEYS[:24], {"session": ["1"] * 24})
    assert same.reason == "one value only"


def test_a_specimen_of_two_sessions_counts_half_in_each() -> None:
    labels = ["a", "a"] * 8 + ["b", "b"] * 8
    specimens = [str(i // 2) for i in range(32)]
    fair = ["1", "2"] * 16
    (one,) = associations(labels, specimens, {"session": fair})
    assert (one.num_specimens, one.p) == (16, 1.0)
    (two,) = associations(labels, specimens, {"session": ["1", "2"] * 8 + ["2", "3"] * 8})
    assert two.warned


def test_columns_that_divide_alike_are_one_test_and_others_are_corrected() -> None:
    labels = ["a"] * 8 + ["b"] * 8
    days = ["1"] * 7 + ["2"] * 8 + ["1"]
    alone = associations(labels, KEYS[:16], {"session": days})[0]
    alike = [f"lamp {day}" for day in days]
    both = associations(labels, KEYS[:16], {"session": days, "lamp": alike})
    assert [one.columns for one in both] == [("session", "lamp")]
    assert both[0].p == alone.p
    assert both[0].name == "session (lamp alike)"
    coin = ["x", "y"] * 8
    three = associations(labels, KEYS[:16], {"session": days, "lamp": alike, "coin": coin})
    assert three[0].p == pytest.approx(2 * alone.p)  # Holm (1979): two tests


def test_hundreds_of_labels() -> None:
    random = np.random.default_rng(0)
    labels = [f"species {i}" for i in range(200) for _ in range(4)]
    keys = [str(i) for i in range(800)]
    fair = [f"day {x}" for x in random.integers(0, 8, 800)]
    own = [f"day {i % 8}" for i in range(200) for _ in range(4)]
    assert not associations(labels, keys, {"session": fair})[0].warned
    found = associations(labels, keys, {"session": own})[0]
    assert found.warned
    # 25 species share a day, each with 3 of the 99 others there; all draws count their share.
    assert found.chance == pytest.approx(4 / 800)


def test_the_usual_columns_are_taken_and_the_label_is_none() -> None:
    columns = {"Session": ["1", "2"], "sex": ["f", "m"], "date": [None, None], "drawer": ["a", "b"]}
    assert list(chosen_confounders(columns, ["x", "y"], None)) == ["Session", "drawer"]
    assert list(chosen_confounders(columns, ["a", "b"], None)) == ["Session"]
    assert chosen_confounders(columns, ["x", "y"], []) == {}
    assert list(chosen_confounders(columns, ["x", "y"], ["sex"])) == ["sex"]
    text = "data.confounders names 'date', which the labels do not have. Their columns: Session"
    with pytest.raises(ConfigError, match=re.escape(text)):
        chosen_confounders(columns, ["x", "y"], ["date"])
    with pytest.raises(ConfigError, match="'drawer', which is the label itself"):
        chosen_confounders(columns, ["a", "b"], ["drawer"])


def test_the_words_to_type() -> None:
    one = Association(("session",), 64, 8, accuracy=0.75, chance=0.5, p=5e-4, example="3")
    assert one.warning == (
        "confounds label and session: they hang together (p = 0.0005, permutation test), and "
        "session alone tells the label of 75% of 64 specimens (the most common label: 50%). An "
        "encoder may learn the session instead of the label. Keep each session in one part with "
        "data.split.group=session, or one out of all parts with "
        "\"data.split.hold_out=['session=3']\"."
    )
    rare = Association(("session",), 8, 2, accuracy=1.0, chance=0.5, p=0.03, rare=("a b", 1))
    assert "under three values of session or more ('a b' has 1)" in rare.warning


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """24 specimens of two species; the species have their own sessions, of three days each."""
    rows = ["file,species,specimen,session,day,operator"]
    for i in range(24):
        values = np.full((3, 2, 2), i + 1, np.uint16)
        write_envi(tmp_path / f"c{i:02d}.bil", values, SpectralAxis.linear(400, 500, 3))
        kind, session = ("ab"[i // 12], i // 4)
        rows.append(f"c{i:02d}.bil,{kind},{i},s{session},{session}{i % 2},{'xy'[i % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_folder_warns_until_the_split_keeps_sessions_apart(folder: Path) -> None:
    catalogue = scan(folder, labels=CsvLabels(), pattern="*.bil")
    assert catalogue.problems == ()
    found, (problem, other) = examine(catalogue, None, None)
    assert [one.name for one in found] == ["session", "day", "operator"]
    assert [one.warned for one in found] == [True, True, False]
    assert "data.split.group=day" in other.message
    assert (problem.file, problem.severity) == (".", "warning")
    assert "data.split.group=session" in problem.message
    assert examine(catalogue, None, "session")[1] == []
    (still,) = examine(catalogue, None, "day")[1]
    assert "label and session" in still.message, "days are parts of sessions, not the other way"
    assert examine(catalogue, [], None) == ([], [])
    with pytest.raises(
        SplitError, match=r"data\.split\.group is lamp, which the labels do not have"
    ):
        examine(catalogue, None, "lamp")
