from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from hyperspec.datasets.loading.plane_cache import PlaneBank, Residency
from hyperspec.datasets.loading.prefetch import Batch, ReadAhead
from hyperspec.datasets.splits import Split
from hyperspec.runs.planning.dummy_data import StandIn
from hyperspec.spectra.axis import mission_axis
from hyperspec.training.datamodule import EpochBatches, LoaderSettings, SpecimenData
from hyperspec.utils.errors import ConfigError

ROWS = np.arange(100, 123)


def test_batches_are_full_disjoint_and_from_the_training_part() -> None:
    batches = list(EpochBatches(ROWS, 5, seed=3))
    assert [len(b) for b in batches] == [5, 5, 5, 5]
    seen = [row for batch in batches for row in batch]
    assert len(set(seen)) == 20
    assert set(seen) <= set(ROWS.tolist())


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first, again, second, third = (
        list(EpochBatches(ROWS, 5, seed=0, epoch=lambda epoch=epoch: epoch))
        for epoch in (0, 0, 1, 2)
    )
    assert first == again
    assert len({str(order) for order in (first, second, third)}) == 3
    assert list(EpochBatches(ROWS, 5, seed=1)) != first


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


class Seen(pl.LightningModule):
    """Notes the rows of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.rows: dict[int, list[list[int]]] = {}

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        self.rows.setdefault(self.current_epoch, []).append(batch.rows.tolist())
        loss: torch.Tensor = self.layer(torch.ones(1, 1)).sum()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trained(
    folder: Path, epochs: int, mode: str, loader: LoaderSettings, ckpt: Path | None = None
) -> Seen:
    """Train for so many epochs, keep a checkpoint, and return what each step saw."""
    source = StandIn(mission_axis(), 4, 12, np.dtype(np.float16))
    bank = PlaneBank(source, (3, 7), torch.device("cpu"), Residency(mode, ""))
    split = Split(np.arange(8), np.arange(8, 10), np.arange(10, 12), "")
    module, data = Seen(), SpecimenData(bank, split, 4, 0, loader)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data, ckpt_path=ckpt, weights_only=False)
    trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    return module


@pytest.mark.parametrize(("mode", "threads"), [("device", 0), ("mmap", 0), ("mmap", 2)])
def test_a_trainer_meets_other_batches_in_each_epoch_also_when_it_goes_on(
    mode: str, threads: int, tmp_path: Path
) -> None:
    loader = LoaderSettings(read_threads=threads)
    whole = trained(tmp_path, 4, mode, loader).rows
    assert list(whole) == [0, 1, 2, 3]
    assert all(sorted(np.ravel(epoch)) == list(range(8)) for epoch in whole.values())
    assert len({str(epoch) for epoch in whole.values()}) == 4
    assert len({str(sorted(map(sorted, epoch))) for epoch in whole.values()}) == 4
    first = trained(tmp_path, 2, mode, loader).rows
    rest = trained(tmp_path, 4, mode, loader, tmp_path / "2.ckpt").rows
    assert first | rest == whole


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(("mode", "whole", "ahead"), [
    ("mmap", True, True), ("mmap", False, False), ("device", True, False),
])  # fmt: skip
def test_pixels_are_read_ahead_only_where_a_step_takes_them_at_once(
    mode: str, whole: bool, ahead: bool, threads: int
) -> None:
    source = StandIn(mission_axis(), 4, 12, np.dtype(np.float16))
    bank = PlaneBank(source, (3, 7), torch.device("cpu"), Residency(mode, ""))
    split = Split(np.arange(8), np.arange(8, 10), np.arange(10, 12), "")
    data = SpecimenData(bank, split, 4, 0, LoaderSettings(threads), whole=whole)
    loader = data.train_dataloader()
    assert isinstance(loader, ReadAhead) is bool(ahead and threads)
    batches = list(loader)  # two, and so many hold
    assert len(batches) == 2
    for batch in batches:
        assert (batch.images is not None) is ahead
        if batch.images is not None and batch.masks is not None:
            read, masks = bank.batch(batch.rows)
            assert torch.equal(batch.images.float(), read)
            assert torch.equal(batch.masks, masks)
