from __future__ import annotations

import omegaconf
import pytest

from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import MISSING, at_least


def test_a_value_that_must_be_given_is_what_omegaconf_takes_for_one() -> None:
    assert MISSING == omegaconf.MISSING


def test_a_number_below_the_least_is_refused_with_its_key() -> None:
    at_least("epochs", 1, 1)
    with pytest.raises(ConfigError, match=r"^epochs is 0; give a whole number of at least 1\.$"):
        at_least("epochs", 0, 1)
