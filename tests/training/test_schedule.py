"""Stages of a progressive training: what a schedule may say, and which bands each stage has."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.config.schema import StageSpec, check_schedule
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection
from hyperspec.training.progressive import nested_sets, thinned
from hyperspec.utils.errors import ConfigError

AXIS = SpectralAxis.linear(348.3931, 809.6, 408)
MISSION = [StageSpec(50, 20), StageSpec(100, 50), StageSpec(150, 100), StageSpec(200, 408)]


def full(indices: tuple[int, ...] = tuple(range(408))) -> BandSelection:
    return BandSelection(indices, AXIS, "full")


def test_the_missions_schedule_passes() -> None:
    check_schedule(MISSION, 200)
    check_schedule([], 7)


@pytest.mark.parametrize(
    ("stages", "epochs", "text"),
    [
        (MISSION, 201, "schedule[3].until_epoch is 200, but epochs is 201"),
        ([StageSpec(5, 0)], 5, "schedule[0].bands is 0; give a whole number, 1 at least"),
        ([StageSpec(5, 4), StageSpec(5, 9)], 5, "schedule[1].until_epoch is 5"),
        ([StageSpec(5, 4), StageSpec(9, 3)], 9, "schedule[1].bands is 3; give a whole number, abo"),
    ],
)
def test_a_wrong_schedule_names_the_place(stages: list[StageSpec], epochs: int, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_schedule(stages, epochs)
    assert text in str(error.value)


def test_the_missions_sets_are_nested_and_spread_over_the_axis() -> None:
    sets = nested_sets(full(), [20, 50, 100, 408])
    assert [len(chosen) for chosen in sets] == [20, 50, 100, 408]
    assert sets[-1] == full()
    for few, many in itertools.pairwise(sets):
        assert set(few.indices) < set(many.indices)
        assert list(few.indices) == sorted(few.indices)
    for chosen in sets[:-1]:
        assert (chosen.indices[0], chosen.indices[-1]) == (0, 407)
        gaps = np.diff(chosen.wavelengths_nm)
        assert gaps.max() < 2.5 * gaps.min() + 1.2
        assert chosen.params == {"thinned_to": len(chosen)}


def test_the_largest_set_must_be_the_chosen_one() -> None:
    with pytest.raises(ConfigError, match=r"schedule\[1\].bands is 400, but bands=full chose 408"):
        nested_sets(full(), [20, 400])


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(30)), st.integers(1, 30), st.integers(1, 30))
def test_thinning_keeps_the_users_order_and_even_ranks(
    order: list[int], size: int, count: int
) -> None:
    count = min(size, count)
    axis = SpectralAxis.linear(400, 800, 30)
    selection = BandSelection(tuple(order[:size]), axis, "list")
    few = thinned(selection, count)
    places = [selection.indices.index(i) for i in few.indices]
    assert places == sorted(places)
    assert len(few) == count
    ranks = np.searchsorted(np.sort(selection.indices), np.sort(few.indices))
    if count > 1:
        assert (ranks[0], ranks[-1]) == (0, size - 1)
        assert np.ptp(np.diff(ranks)) <= 1
    else:
        assert ranks[0] == (size - 1) // 2
