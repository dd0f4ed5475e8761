"""Batches of specimens for training, and rows of each part for evaluation."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.datasets.loading.prefetch import Batch, ReadAhead
from hyperspec.datasets.splits import Split
from hyperspec.utils.errors import ConfigError


@dataclass(frozen=True)
class LoaderSettings:
    """How batches are read when the planes do not stay in memory.

    See :class:`hyperspec.config.hardware.Hardware`.
    """

    read_threads: int = 2
    num_workers: int = 0
    pin_memory: bool = False
    persistent_workers: bool = False
    prefetch_factor: int | None = None


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches that depend on seed and epoch alone, so that any epoch can be resumed.

    Every batch is full: contrastive losses compare within the batch, so a short one would change
    the task. When there are fewer items than a batch, all of them are the batch.

    Args:
        rows: Row numbers of the training part.
        batch_size: Items per batch over all processes, at least 2.
        seed: Seed of the shuffle.
        rank: Number of this process.
        world_size: Number of processes; each takes its equal share of every batch, in order.
        epoch: Says which epoch's shuffle comes next, asked when it begins.

    Raises:
        ConfigError: If a batch would hold a single item, or cannot be shared equally.
    """

    def __init__(
        self,
        rows: NDArray[np.intp],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        self.rows = np.asarray(rows)
        size = self.batch_size = min(batch_size, len(self.rows))
        if size < 2:
            raise ConfigError(
                f"A batch of {size} (batch_size={batch_size}, {len(self.rows)} training images) "
                "leaves no other image to compare with: contrastive learning needs at least 2. "
                "Raise batch_size or add specimens."
            )
        if size % world_size:
            raise ConfigError(
                f"batch_size is {batch_size} and there are {len(self.rows)} training images, so "
                f"that a batch holds {size}, which {world_size} devices cannot share equally. Set "
                f"batch_size={max(size - size % world_size, world_size)}, or another "
                "hardware.devices."
            )
        self.seed, self.rank, self.world_size = seed, rank, world_size
        # Not by a method set_epoch: Lightning calls that of `sampler` alone, never that of a
        # loader's `batch_sampler`, and every epoch would get the first one's batches.
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch()]).permutation(self.rows)
        share = self.batch_size // self.world_size
        for start in range(self.rank * share, len(self) * self.batch_size, self.batch_size):
            yield order[start : start + share].tolist()


class _Rows(Dataset[Batch]):
    """Turns row numbers into a batch, with its pixels where they are to be read ahead."""

    def __init__(self, bank: PlaneBank, reads: bool) -> None:
        self.bank, self.reads = bank, reads

    def __len__(self) -> int:
        return len(self.bank)

    def __getitems__(self, rows: list[int]) -> Batch:
        index = torch.tensor(rows)
        if not self.reads:
            return Batch(index)
        source = self.bank.source
        images = torch.from_numpy(source.planes(rows, self.bank.bands))
        return Batch(index, images, torch.from_numpy(source.masks(rows)).unsqueeze(1))


def _start_method() -> str:
    """Return how reading processes start: joblib's way, set in its workers, is for its own."""
    if multiprocessing.get_start_method() not in ("fork", "spawn", "forkserver"):
        multiprocessing.set_start_method("spawn", force=True)  # what is spawned sets the same
    return multiprocessing.get_start_method()


def _end_if_left(worker: int) -> None:
    """End a reading process whose own process is gone already: torch would take another for it."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def _as_is(batch: Any) -> Any:
    return batch


class SpecimenData(pl.LightningDataModule):
    """Feeds training batches of the training part.

    Args:
        bank: The chosen planes.
        split: Row numbers of the three parts.
        batch_size: Specimen images per step over all processes, at least 2.
        seed: Seed of the shuffle.
        loader: Settings of the reading workers, used when the planes are not resident.
        whole: Whether a step's pixels may be read ahead all at once. With micro-batches they may
            not: each reads its own when its turn comes, so that two of them exist at most.
    """

    def __init__(
        self,
        bank: PlaneBank,
        split: Split,
        batch_size: int,
        seed: int,
        loader: LoaderSettings | None = None,
        *,
        whole: bool = True,
    ) -> None:
        super().__init__()
        self.bank, self.split = bank, split
        self.batch_size, self.seed, self.whole = batch_size, seed, whole
        self.loader = loader if loader is not None else LoaderSettings()
        # Fails here, before a run trains, when the batch is too small.
        self.batches = EpochBatches(split.train, batch_size, seed, epoch=self._epoch)

    def _epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Leave the batch where it is: each micro-batch is moved when its turn comes."""
        return batch

    def train_dataloader(self) -> DataLoader[Batch] | ReadAhead:
        """Return what yields the batches of the training part."""
        trainer = self.trainer
        if trainer is not None and trainer.world_size > 1:
            self.batches = EpochBatches(
                self.split.train,
                self.batch_size,
                self.seed,
                trainer.global_rank,
                trainer.world_size,
                self._epoch,
            )
        reads = self.bank.residency.mode == "mmap" and self.whole
        pin = self.loader.pin_memory and self.bank.device.type == "cuda"
        workers, factor = self.loader.num_workers if reads else 0, self.loader.prefetch_factor
        if reads and not workers and self.loader.read_threads:
            bank, threads = self.bank, self.loader.read_threads
            return ReadAhead(bank.source, bank.bands, self.batches, threads, factor, pin=pin)
        return DataLoader(
            _Rows(self.bank, reads),
            batch_sampler=self.batches,
            collate_fn=_as_is,
            # Its own generator: by default each new iterator takes a number from the one that
            # the views draw from, so that their draws would depend on how batches are read.
            generator=torch.Generator().manual_seed(self.seed),
            num_workers=workers,
            multiprocessing_context=_start_method() if workers else None,
            worker_init_fn=_end_if_left,
            pin_memory=pin,
            persistent_workers=self.loader.persistent_workers and workers > 0,
            prefetch_factor=factor if workers > 0 else None,
        )
