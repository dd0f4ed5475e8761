"""A band selection: validation, identity, measures, finding it again on another axis."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperspec.spectra import BandSelection, SpectralAxis, mission_axis
from hyperspec.spectra.selection import ascending
from hyperspec.utils.errors import BandError

AXIS = SpectralAxis.linear(400, 500, 11)  # 10 nm apart


def selection_of(*indices, axis=AXIS, strategy="list", **params):
    return BandSelection(indices, axis, strategy, params)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([], r"bands=list chose no band at all"),
        ([0, 11], r"bands=list chose band 11, but the axis has bands 0 to 10"),
        ([-1, 2], r"bands=list chose band -1"),
        ([4, 2, 4], r"bands=list chose band 4 more than once"),
    ],
)
def test_impossible_selections_are_refused(indices, message):
    with pytest.raises(BandError, match=message):
        selection_of(*indices)


def test_it_keeps_the_order_and_takes_numpy_integers():
    selection = BandSelection(tuple(np.array([7, 0, 3])), AXIS, "list")
    assert selection.indices == (7, 0, 3)
    assert all(type(i) is int for i in selection.indices)
    assert selection.wavelengths_nm.tolist() == [470, 400, 430]
    assert len(selection) == 3


def test_the_hash_covers_order_axis_strategy_and_parameters():
    base = selection_of(1, 5, n=2, seed=0)
    others = [
        selection_of(5, 1, n=2, seed=0),
        selection_of(1, 5, n=2, seed=1),
        selection_of(1, 5, n=2, seed=0, strategy="random"),
        selection_of(1, 5, n=2, seed=0, axis=SpectralAxis.linear(400, 501, 11)),
        selection_of(1, 6, n=2, seed=0),
    ]
    assert len({s.hash for s in [base, *others]}) == 6
    assert base == selection_of(1, 5, seed=0, n=2)
    assert hash(base) == hash(selection_of(1, 5, seed=0, n=2))
    assert base != "selection"
    assert len(base.hash) == 12


def test_the_hash_is_the_same_in_another_process():
    code = (
        "from hyperspec.spectra import BandSelection, mission_axis;"
        "print(BandSelection((3, 9), mission_axis(), 'uniform', {'n': 2}).hash)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = BandSelection((3, 9), mission_axis(), "uniform", {"n": 2}).hash
    assert done.stdout.strip() == here


def test_json_round_trip_keeps_all():
    axis = SpectralAxis(AXIS.wavelengths_nm, np.full(11, 12.0), np.arange(11) != 4)
    before = selection_of(7, 0, axis=axis, nm=[470.0, 400.0], tolerance_nm=5.0, indices=None)
    values = json.loads(json.dumps(before.to_dict()))
    after = BandSelection.from_dict(values)
    assert after == before
    assert after.params == before.params
    assert values["wavelengths_nm"] == [470, 400]
    assert values["hash"] == before.hash


def test_a_tampered_dict_is_refused():
    values = selection_of(1, 5).to_dict()
    values["indices"] = [1, 6]
    with pytest.raises(BandError, match=r"hash .* does not match its content"):
        BandSelection.from_dict(values)


def test_params_cannot_be_changed_behind_the_hash():
    params = {"n": 2}
    selection = BandSelection((1, 5), AXIS, "uniform", params)
    params["n"] = 3
    assert selection.params == {"n": 2}


def test_coverage_of_known_sets():
    # n bands reach range / n = 100 / n nm to either side.
    assert selection_of(*range(11)).coverage == pytest.approx(1.0)
    assert selection_of(0).coverage == pytest.approx(1.0)
    assert selection_of(0, 1, 2, 3).coverage == pytest.approx(0.55)  # 400-455
    assert selection_of(3, 4, 5, 6).coverage == pytest.approx(0.8)  # 405-485
    assert selection_of(0, 1, 9, 10).coverage == pytest.approx(0.7)  # 400-435, 465-500
    assert selection_of(9, 0, 10, 1).coverage == pytest.approx(0.7)


def test_an_even_spread_covers_everything_and_a_clump_twice_its_share():
    axis = mission_axis()
    for n in range(2, 60):
        even = np.round(np.linspace(0, 407, n)).astype(int)
        assert BandSelection(tuple(even), axis, "uniform").coverage == pytest.approx(1.0)
    clump = BandSelection(tuple(range(200, 220)), axis, "list")
    assert clump.coverage == pytest.approx(2 / 20 + 19 / 407)


@settings(max_examples=50, deadline=None)
@given(
    indices=st.lists(st.integers(0, 10), min_size=1, max_size=11, unique=True),
    seed=st.integers(0, 99),
)
def test_coverage_is_the_measure_of_a_union(indices, seed):
    nm = np.random.default_rng(seed).permutation(np.linspace(400, 700, 11) + seed / 50)
    axis = SpectralAxis(nm)
    selection = BandSelection(tuple(indices), axis, "list")
    low, high = axis.range_nm
    reach = (high - low) / len(indices)
    grid = low + (np.arange(30_000) + 0.5) / 30_000 * (high - low)
    reached = (np.abs(grid[:, None] - selection.wavelengths_nm) <= reach).any(axis=1)
    assert selection.coverage == pytest.approx(reached.mean(), abs=1e-3)


def test_coverage_of_an_axis_of_one_band():
    assert BandSelection((0,), SpectralAxis(np.array([500.0])), "full").coverage == 1.0


def test_redundancy_is_the_mean_absolute_correlation_of_pairs():
    correlation = np.eye(11)
    correlation[1, 5] = correlation[5, 1] = -0.8
    correlation[1, 9] = correlation[9, 1] = 0.2
    correlation[5, 9] = correlation[9, 5] = 0.5
    assert selection_of(9, 1, 5).redundancy(correlation) == pytest.approx((0.8 + 0.2 + 0.5) / 3)
    assert selection_of(1, 5).redundancy(correlation) == pytest.approx(0.8)
    assert selection_of(4).redundancy(correlation) == 0.0


def test_resolve_finds_the_same_wavelengths():
    selection = selection_of(8, 2, 5)
    assert selection.resolve(AXIS) is selection
    shifted = SpectralAxis(AXIS.wavelengths_nm[::-1] + 2)
    found = selection.resolve(shifted)
    assert found.wavelengths_nm.tolist() == [482, 422, 452]
    assert found.axis == shifted
    assert (found.strategy, found.params) == (selection.strategy, selection.params)
    finer = SpectralAxis.linear(400, 500, 101)
    assert selection.resolve(finer).wavelengths_nm.tolist() == [480, 420, 450]


def test_resolve_lists_what_does_not_fit():
    narrow = SpectralAxis.linear(400, 460, 7)
    with pytest.raises(
        BandError,
        match=r"2 of 3 chosen bands \(bands=list, [0-9a-f]{12}\) do not fit the axis at hand: No "
        r"good band lies within 5 nm of 480 nm.*of 500 nm",
    ):
        selection_of(2, 8, 10).resolve(narrow)
    coarse = SpectralAxis.linear(400, 500, 3)
    with pytest.raises(BandError, match=r"410\.00 nm falls on band 0, which is taken already"):
        selection_of(0, 1).resolve(coarse, tolerance_nm=20)
    bad = SpectralAxis(AXIS.wavelengths_nm, good=np.arange(11) != 5)
    with pytest.raises(BandError, match=r"1 of 1 chosen bands.*450 nm"):
        selection_of(5).resolve(bad)


def test_resolve_on_axes_of_one_band():
    single = SpectralAxis(np.array([450.0]))
    assert selection_of(5).resolve(single).indices == (0,)
    assert BandSelection((0,), single, "full").resolve(AXIS).indices == (5,)


def test_ascending_gives_plain_sorted_integers():
    assert ascending(np.array([5, 1, 3])) == (1, 3, 5)
    assert all(type(i) is int for i in ascending(np.array([5, 1])))


def test_a_notebook_shows_where_the_bands_lie():
    shown = selection_of(0, 5, 10)._repr_html_()
    assert "3 of 11 bands (bands=list)" in shown
    assert "400.0, 450.0, 500.0 nm" in shown
    assert shown.count("M34.0 6V22M240.0 6V22M446.0 6V22") == 1  # both ends and the middle
    long = BandSelection(tuple(range(100)), SpectralAxis.linear(400, 499, 100), "<list>")
    assert "459.0 nm and 40 more" in long._repr_html_()
    assert "<list>" not in long._repr_html_()
