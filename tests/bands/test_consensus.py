"""One list of windows: what choices agree on, beside what chance would give."""

from __future__ import annotations

import numpy as np
import pytest

from hyperspec.bands import Full
from hyperspec.bands.consensus import consensus
from hyperspec.bands.diagnostics import Pick
from hyperspec.bands.fixed import Uniform
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection

AXIS = SpectralAxis(np.linspace(400.0, 695.0, 60))  # every 5 nm
EVERY = Uniform(n=3)


def pick(name: str, *sets: list[int]) -> Pick:
    first, *rest = (BandSelection(tuple(one), AXIS, name) for one in sets)
    return Pick(EVERY, first, 0.0, resampled=rest)


def test_windows_that_choices_share_come_first() -> None:
    picks = [
        pick("a", [10, 30, 50], [10, 30, 51], [11, 30, 50]),
        pick("b", [11, 20, 40], [0, 20, 40], [11, 21, 40]),
        pick("c", [1, 2, 55]),
    ]
    found = consensus(picks, AXIS, 20.0)
    assert [(one.start_nm, one.stop_nm) for one in found[:1]] == [(440.0, 460.0)]
    assert found[0].strategies == ("a 3", "b 3")
    assert found[0].steadiness == pytest.approx(3 / 4)
    # 3 of 60 bands miss a window of 4 with a chance of (56 55 54) / (60 59 58).
    assert found[0].expected == pytest.approx(3 * (1 - 56 * 55 * 54 / (60 * 59 * 58)))
    assert found[0].support == pytest.approx(2 - found[0].expected)
    assert sorted(one.start_nm for one in found)[-1] == 680
    assert {len(one.strategies) for one in found} == {0, 1, 2}


def test_every_band_lies_in_one_window() -> None:
    for width in (7.0, 20.0, 295.0, 1000.0):
        counted = [consensus([pick("a", [band])], AXIS, width) for band in (0, 17, 59)]
        assert [sum(len(one.strategies) for one in found) for found in counted] == [1, 1, 1]


def test_all_bands_say_nothing() -> None:
    whole = Pick(Full(), Full().select(AXIS, None), 0.0)
    assert all(not one.strategies for one in consensus([whole], AXIS, 20.0))
    assert np.isnan(consensus([whole], AXIS, 20.0)[0].steadiness)
