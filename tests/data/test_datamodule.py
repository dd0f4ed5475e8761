from __future__ import annotations

import numpy as np
import pytest
import torch

from hyperspec.data.bank import PlaneBank, Residency
from hyperspec.data.datamodule import EpochBatches, SpecimenData
from hyperspec.data.splits import Split
from hyperspec.planning.stand_in import StandIn
from hyperspec.spectra.axis import mission_axis
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


@pytest.mark.parametrize(("mode", "whole", "ahead"), [
    ("mmap", True, True), ("mmap", False, False), ("device", True, False),
])  # fmt: skip
def test_pixels_are_read_ahead_only_where_a_step_takes_them_at_once(
    mode: str, whole: bool, ahead: bool
) -> None:
    source = StandIn(mission_axis(), 4, 12, np.dtype(np.float16))
    bank = PlaneBank(source, (3, 7), torch.device("cpu"), Residency(mode, ""))
    split = Split(np.arange(8), np.arange(8, 10), np.arange(10, 12), "")
    data = SpecimenData(bank, split, 4, 0, whole=whole)
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    for batch in batches:
        assert (batch.images is not None) is ahead
        if batch.images is not None and batch.masks is not None:
            read, masks = bank.batch(batch.rows)
            assert torch.equal(batch.images.float(), read)
            assert torch.equal(batch.masks, masks)
