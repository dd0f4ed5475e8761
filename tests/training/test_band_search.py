"""The schedule of the selectors' temperature."""

from __future__ import annotations

import pytest

from hyperspec.training.band_search import SearchSettings


def test_the_temperature_falls_by_the_same_factor_each_epoch() -> None:
    settings = SearchSettings(5, 10.0, 0.1, lr=0.3, duplicate_penalty=1.0, seed=0)
    found = [settings.temperature(epoch) for epoch in range(5)]
    assert found == pytest.approx([10, 10**0.5, 1, 10**-0.5, 0.1])
    assert settings.temperature(9) == pytest.approx(0.1)
