from __future__ import annotations

import numpy as np
import pytest
import torch

from hyperspec.training import memory

CPU = torch.device("cpu")


def test_peak_sees_memory_that_was_freed_and_forgets_it_after_a_reset() -> None:
    if not memory.reset_peak():
        pytest.skip("this system does not let a process reset its own peak")
    before = memory.peak_mb(CPU)
    block = np.ones(30_000_000)  # 240 MB
    del block
    assert memory.peak_mb(CPU) - before > 200
    memory.reset_peak()
    assert memory.peak_mb(CPU) - before < 100
