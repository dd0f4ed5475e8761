"""A training step on the GPU without hardware: nothing is mixed, and the host does not wait."""

from __future__ import annotations

import pytest
import torch
from standin_cases import cases, record

pytestmark = pytest.mark.skipif(
    torch.version.cuda is not None, reason="the stand-in is of torch's CPU build"
)


@pytest.mark.parametrize("name", cases("steps"))
def test_on_the_stand_in(name: str) -> None:
    error = record("steps")[name]["error"]
    assert error is None, error
