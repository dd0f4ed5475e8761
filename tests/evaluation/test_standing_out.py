"""Which windows stand out: planted, redundant, null, few; all windows looked at together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hyperspec.evaluation.importance.standing_out import find_standing_out, max_statistic
from hyperspec.evaluation.importance.swaps import (
    Grid,
    ordinary_donors,
    read_swaps,
    swap_scores,
    swap_table,
)

AXIS = np.linspace(400.0, 700.0, 61)  # every 5 nm
GRID = Grid.over(AXIS, 20.0)
LABELS = 4


def told_and_lost(
    carry: dict[int, float], *, specimens: int = 48, seeds: int = 2, truth: int = 0
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return scores of two images per specimen; a specimen's windows hang together."""
    random = np.random.default_rng(truth)
    shape = (seeds, len(GRID.starts_nm), specimens)
    own = random.normal(size=(1, 1, specimens)) + random.normal(size=shape)
    lost = np.where(random.random(shape) < 0.05, random.choice([-1.0, 1.0], shape), 0.0)
    for window, share in carry.items():
        own[:, window] += 4 * share
        lost[:, window] += random.random((seeds, specimens)) < share
    names = [f"s{i}" for i in range(specimens) for _ in range(2)]
    return np.repeat(own, 2, axis=2), np.repeat(lost, 2, axis=2), names


def test_windows_lie_within_the_axis_and_all_have_one_width() -> None:
    assert GRID.starts_nm[0] == 400
    assert GRID.starts_nm[-1] == 680
    assert np.diff(GRID.starts_nm) == pytest.approx(10.0)
    uneven = Grid.over(np.array([400.0, 433.0]), 20.0)
    assert uneven.starts_nm.tolist() == [400.0, 410.0, 413.0]
    assert Grid.over(np.array([400.0, 405.0]), 20.0).starts_nm.tolist() == [400.0]
    sets = GRID.bands(AXIS)
    assert {len(bands) for bands in sets} == {5}
    sparse = GRID.bands(np.array([405.0, 690.0]))
    assert [len(bands) for bands in sparse].count(0) == len(sparse) - 3


def test_what_is_planted_stands_out_with_its_loss_and_nothing_else() -> None:
    told, lost, names = told_and_lost({4: 0.5, 20: 0.4})
    found = find_standing_out(GRID, told, lost, names)
    assert [(s.start_nm, s.stop_nm) for s in found.stretches] == [(440, 460), (600, 620)]
    shares = [s.lost.mean for s in found.stretches]
    # 48 specimens, two draws each: three standard deviations are 0.15.
    assert shares == pytest.approx([0.5, 0.4], abs=0.15)
    assert not any(s.is_redundant for s in found.stretches)
    assert (found.num_specimens, found.num_seeds, found.reason) == (48, 2, "")


def test_redundant_windows_stand_out_without_a_loss() -> None:
    """Two that tell the same: neither is missed alone, and each is told by itself."""
    told, lost, names = told_and_lost({})
    told[:, [6, 25]] += 2.0
    found = find_standing_out(GRID, told, lost, names)
    assert [s.start_nm for s in found.stretches] == [460, 650]
    assert all(s.is_redundant for s in found.stretches)


def test_what_only_several_windows_tell_together_is_seen_by_its_loss() -> None:
    told, lost, names = told_and_lost({})
    lost[:, 12] = np.repeat(np.random.default_rng(1).random((2, 48)) < 0.4, 2, axis=1)
    found = find_standing_out(GRID, told, lost, names)
    assert [(s.start_nm, s.stop_nm) for s in found.stretches] == [(520, 540)]


def test_what_costs_nothing_stands_out_nowhere_though_ordinary_windows_gain() -> None:
    """Of an encoder that guesses, answers that were wrong get right by chance."""
    told, lost, names = told_and_lost({})
    told[:], lost[:] = 0.0, np.where(np.arange(96) < 24, -1.0, 0.0)
    told[:, ::2] = np.random.default_rng(2).normal(size=told[:, ::2].shape)
    lost[:, 12] = lost[:, 13] = 0.0  # 13 has no band: nothing is exchanged in it
    assert find_standing_out(GRID, told, lost, names).stretches == ()


def test_what_each_exchange_costs_alike_stands_out_nowhere() -> None:
    """A strange image costs answers whatever was exchanged: that is no window's doing."""
    told, lost, names = told_and_lost({})
    random = np.random.default_rng(5)
    cost = random.random((2, len(GRID.starts_nm), 48)) < 0.1
    found = find_standing_out(GRID, told, np.abs(lost) + np.repeat(cost, 2, axis=2), names)
    assert found.stretches == ()


def test_neighbours_are_one_stretch_to_half_of_the_strongest() -> None:
    told, lost, names = told_and_lost({})
    for window, strength in {9: 1.0, 10: 3.0, 11: 3.5, 12: 3.0, 13: 0.9}.items():
        told[:, window] += strength
    found = find_standing_out(GRID, told, lost, names)
    assert [(s.start_nm, s.stop_nm) for s in found.stretches] == [(510, 530)]


def test_of_null_sets_one_in_twenty_claims_anything() -> None:
    claims = sum(
        bool(find_standing_out(GRID, *told_and_lost({}, specimens=24, truth=truth)).stretches)
        for truth in range(120)
    )
    # Binomial at 5%: 13 and more of 120 have a chance of 0.7%.
    assert claims <= 12


def test_fewer_than_eight_specimens_are_not_tested() -> None:
    told, lost, names = told_and_lost({4: 0.9}, specimens=6)
    found = find_standing_out(GRID, told, lost, names)
    assert found.stretches == ()
    assert found.reason == "fewer than 8 specimens were tested"
    assert np.isnan(found.windows[0].p)


def test_a_setting_that_reads_little_of_the_axis() -> None:
    """Windows without a band are exactly 0; one that is read and carries is found among them."""
    told, lost, names = told_and_lost({4: 0.5})
    blank = np.ones(len(GRID.starts_nm), bool)
    blank[[3, 4, 15, 16, 27]] = False
    told[:, blank], lost[:, blank] = 0.0, 0.0
    found = find_standing_out(GRID, told, lost, names)
    assert [s.start_nm for s in found.stretches] == [440]
    assert found.windows[0].told.low == found.windows[0].told.high == 0


def test_the_largest_of_many_needs_more_than_one_alone() -> None:
    random = np.random.default_rng(3)
    one = random.normal(0.45, 1, 40)
    alone = max_statistic(one[None])[0]
    among = max_statistic(np.concatenate([one[None], random.normal(size=(60, 40))]))[0]
    assert alone < 0.05 < among
    copies = max_statistic(np.tile(one, (60, 1)))
    assert copies == pytest.approx(np.full(60, alone)), "windows that overlap wholly are one"


def answers(x: np.ndarray) -> np.ndarray:
    """Log probabilities of a classifier that reads two of three windows of one number each."""
    codes = np.stack([-(((x[:, 0] + 2 * x[:, 1]) - k) ** 2) for k in range(LABELS)], 1)
    return np.asarray(codes - np.log(np.exp(codes).sum(1, keepdims=True)))


def test_exchange_tells_of_the_windows_that_are_read() -> None:
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(LABELS), 12)
    x = np.stack([y % 2, y // 2, random.normal(size=y.size)], 1).astype(float)
    x[:, :2] += random.normal(0, 0.05, (y.size, 2))
    names = [f"s{i}" for i in range(y.size)]

    def swapped(bands: np.ndarray, donors: np.ndarray) -> np.ndarray:
        changed = x.copy()
        changed[:, bands] = x[donors][:, bands]
        return answers(changed)

    windows = [np.array([0]), np.array([1]), np.array([2]), np.array([], int)]
    donors = ordinary_donors(names, 2)
    assert all((own != np.arange(y.size)).all() for own in donors)
    result = swap_scores(swapped, answers(x), windows, donors, y, lambda: True)
    assert result is not None
    told, lost = result
    assert (told[:2].mean(1) > 0.3).all()
    assert (lost[:2].mean(1) > 0.3).all()
    assert not told[2:].any()
    assert not lost[2:].any()
    assert swap_scores(swapped, answers(x), windows, donors, y, lambda: False) is None


def test_labels_that_mean_nothing_are_told_by_no_window() -> None:
    """Also of unequal labels, and an encoder that answers one of them to whatever is strange."""
    random = np.random.default_rng(2)
    means = []
    for _ in range(60):
        y = (random.random(40) < 0.8).astype(int)
        x = random.normal(size=(40, 3))

        def swapped(bands: np.ndarray, donors: np.ndarray, x: np.ndarray = x) -> np.ndarray:
            changed = x.copy()
            changed[:, bands] = x[donors][:, bands]
            after = answers(changed)[:, :2]
            after[:, 1] += 1.5  # strange images look like the frequent label
            return after

        donors = ordinary_donors([str(i) for i in range(40)], 2)
        base = answers(x)[:, :2]
        result = swap_scores(swapped, base, [np.array([0])], donors, y, lambda: True)
        assert result is not None
        means.append(result[0].mean())
    error = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means)) < 4 * error


def test_tables_keep_their_grid() -> None:
    told, lost, names = told_and_lost({4: 0.5}, seeds=1)
    known = pd.DataFrame({"file": names, "specimen": names, "label": "a"})
    read = read_swaps(swap_table(known, GRID, told[0], lost[0]).astype(str))
    assert read is not None
    grid, values = read
    assert grid.width_nm == GRID.width_nm
    np.testing.assert_allclose(grid.starts_nm, GRID.starts_nm)
    np.testing.assert_allclose(values, np.stack([told[0], lost[0]]))
    assert read_swaps(known) is None
