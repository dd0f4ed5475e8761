"""The GPU without hardware: precisions, embedding, importance, growth, whole trainings."""

from __future__ import annotations

import pytest
import torch
from standin_cases import cases, record

pytestmark = pytest.mark.skipif(
    torch.version.cuda is not None, reason="the stand-in is of torch's CPU build"
)


@pytest.mark.parametrize("name", cases("rest"))
def test_on_the_stand_in(name: str) -> None:
    error = record("rest")[name]["error"]
    assert error is None, error
