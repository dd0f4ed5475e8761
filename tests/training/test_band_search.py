"""The schedule of the selectors' temperature."""

from __future__ import annotations

import pytest

from hyperspec.bands import Learned


def test_the_temperature_falls_by_the_same_factor_each_epoch() -> None:
    strategy = Learned(3, start_temperature=10.0, end_temperature=0.1)
    found = [strategy.temperature(epoch, 5) for epoch in range(5)]
    assert found == pytest.approx([10, 10**0.5, 1, 10**-0.5, 0.1])
    assert strategy.temperature(9, 5) == pytest.approx(0.1)
