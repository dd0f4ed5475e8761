"""The option `learned`: ranges, epochs, and what it says without training."""

import re

import pytest

from hyperspec.bands import Learned
from hyperspec.spectra import SpectralAxis, mission_axis
from hyperspec.spectra.band_projection import selection_from_dict
from hyperspec.utils.errors import BandError, ConfigError


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n": 0}, "bands.n is 0, but bands=learned chooses 1 band at least"),
        ({"search_share": 0.0}, "bands.search_share is 0.0; give a share"),
        ({"search_share": 1.0}, "bands.search_share is 1.0; give a share"),
        ({"end_temperature": 10.0}, "bands.end_temperature 10.0; the temperature falls"),
        ({"end_temperature": 0.0}, "bands.end_temperature 0.0; the temperature falls"),
        ({"lr": 0.0}, "bands.lr is 0.0; give a rate above 0"),
        ({"duplicate_penalty": -1.0}, "bands.duplicate_penalty is -1.0; give 0 or"),
    ],
)
def test_options_outside_their_range_are_refused(options, text):
    with pytest.raises(BandError, match=re.escape(text)):
        Learned(**{"n": 3, **options})


@pytest.mark.parametrize(
    ("share", "epochs", "search"),
    [(0.5, 50, 25), (0.5, 4, 2), (0.01, 50, 2), (0.99, 50, 49), (0.3, 10, 3)],
)
def test_the_search_leaves_epochs_to_train_in(share, epochs, search):
    strategy = Learned(n=3, search_share=share)
    assert strategy.search_epochs(epochs) == search
    assert strategy.final_epochs(epochs) == epochs - search
    assert Learned(n=3, search_share=share, restart=True).final_epochs(epochs) == epochs


def test_too_few_epochs_are_refused():
    with pytest.raises(ConfigError, match=r"^epochs is 3, but bands=learned needs 4 at least"):
        Learned(n=3).search_epochs(3)


def test_nothing_is_chosen_without_training():
    with pytest.raises(BandError, match=r"Run `hyperspec train bands=learned bands\.n=3`"):
        Learned(n=3).select(mission_axis())


def test_candidates_are_the_good_bands():
    axis = SpectralAxis.linear(400, 430, 4)
    axis = SpectralAxis(axis.wavelengths_nm[::-1], good=[True, True, False, True])
    strategy = Learned(n=3)
    assert strategy.candidates(axis).indices == (0, 1, 3)
    with pytest.raises(BandError, match=r"bands\.n is 4, but the axis has 3 good bands of 4"):
        Learned(n=4).candidates(axis)
    with pytest.raises(BandError, match="marked bad, so bands=learned has none"):
        strategy.candidates(SpectralAxis(axis.wavelengths_nm, good=[False] * 4))


def test_the_choice_travels_like_any_other():
    made = Learned(n=3).chosen(mission_axis(), [300, 7, 20])
    assert made.indices == (7, 20, 300)
    assert (made.strategy, made.params["restart"]) == ("learned", False)
    assert selection_from_dict(made.to_dict()) == made


def test_the_temperature_falls_by_the_same_factor_each_epoch():
    strategy = Learned(n=3, start_temperature=10.0, end_temperature=0.1)
    found = [strategy.temperature(epoch, 5) for epoch in range(7)]
    expected = [10.0, 10**0.5, 1.0, 0.1**0.5, 0.1, 0.1, 0.1]  # and stays there
    assert found == pytest.approx(expected)
    assert strategy.temperature(0, 1) == 10.0
