from __future__ import annotations

import numpy as np
import pytest

from hyperspec.data.datamodule import EpochBatches
from hyperspec.spectra.errors import ConfigError

ROWS = np.arange(100, 123)


def test_batches_are_full_disjoint_and_from_the_training_part() -> None:
    batches = list(EpochBatches(ROWS, 5, seed=3))
    assert [len(b) for b in batches] == [5, 5, 5, 5]
    seen = [row for batch in batches for row in batch]
    assert len(set(seen)) == 20
    assert set(seen) <= set(ROWS.tolist())


def test_order_depends_on_seed_and_epoch_alone() -> None:
    sampler = EpochBatches(ROWS, 5, seed=0)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    assert list(EpochBatches(ROWS, 5, seed=1)) != first
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_too_few_items_make_one_batch() -> None:
    assert [sorted(b) for b in EpochBatches(ROWS[:3], 64, seed=0)] == [[100, 101, 102]]


def test_processes_share_out_the_same_batches() -> None:
    whole = list(EpochBatches(ROWS, 6, seed=0))
    halves = [list(EpochBatches(ROWS, 6, seed=0, rank=r, world_size=2)) for r in (0, 1)]
    for batch, left, right in zip(whole, *halves, strict=True):
        assert left + right == batch
        assert len(left) == len(right) == 3


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    message = r"batch_size is 64 and there are 5 .* 2 devices .* Set batch_size=4"
    with pytest.raises(ConfigError, match=message):
        EpochBatches(ROWS[:5], 64, seed=0, rank=0, world_size=2)


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"A batch of 1 .* leaves no other image"):
        EpochBatches(ROWS[:1], 64, seed=0)
