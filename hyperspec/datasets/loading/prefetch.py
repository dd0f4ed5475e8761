"""Batches that threads read ahead into buffers that are used again and again.

For planes that do not stay in memory. Reading processes would have to hand each batch over to the
training process, and for a new batch the system clears new pages, which costs more than the copy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hyperspec.datasets.store.source import SpecimenSource
from hyperspec.utils.device_memory import pinned_empty


@dataclass(frozen=True)
class Batch:
    """A training batch: row numbers, and pixels when they were read ahead.

    Args:
        rows: Row numbers in the source, shape ``(B,)``.
        images: Reflectance in the store's type, shape ``(B, n, S, S)``, or None when resident.
        masks: Foreground, shape ``(B, 1, S, S)``, or None when resident.
    """

    rows: Tensor
    images: Tensor | None = None
    masks: Tensor | None = None

    def pin_memory(self) -> Batch:
        """Pin the pixels; the DataLoader calls this."""
        if self.images is None or self.masks is None:
            return self
        return Batch(self.rows, self.images.pin_memory(), self.masks.pin_memory())


class Batches(Sized, Iterable[list[int]], Protocol):
    """Row numbers of each batch of an epoch."""


# Batches that hold while the next are read: the one in training and the one that Lightning takes
# ahead of it.
HELD = 2


def num_buffers(threads: int, factor: int | None) -> int:
    """Return how many batches lie in memory at most."""
    return HELD + threads * (factor or 1)


class ReadAhead:
    """The batches of an epoch in order, read by threads; iterated over like a DataLoader.

    The pixels of a batch hold until two more have been taken.

    Args:
        source: What is read.
        bands: 0-based indices of the bands, in channel order.
        batches: Row numbers of each batch of an epoch.
        threads: Batches read at once, at least 1.
        factor: Batches read ahead per thread; None for one.
        pin: Whether a GPU fetches the pixels out of the buffers, which are pinned then.
    """

    def __init__(
        self,
        source: SpecimenSource,
        bands: Sequence[int],
        batches: Batches,
        threads: int,
        factor: int | None = None,
        *,
        pin: bool = False,
    ) -> None:
        self.source, self.bands, self.batches = source, tuple(bands), batches
        self.threads = threads
        self._buffers = [_Buffer(pin) for _ in range(num_buffers(threads, factor))]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        rows, free = iter(self.batches), deque(self._buffers)
        waiting: deque[tuple[_Buffer, Future[Batch]]] = deque()
        held: deque[_Buffer] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                while True:
                    while free and (some := next(rows, None)) is not None:
                        buffer = free.popleft()
                        waiting.append((buffer, pool.submit(self._read, buffer, some)))
                    if not waiting:
                        return
                    buffer, task = waiting.popleft()
                    held.append(buffer)
                    yield task.result()
                    if len(held) > HELD:
                        # Whoever asks for another batch has given out all work on this one.
                        held[0].last_use()
                        free.append(held.popleft())
            finally:  # also when the training ends in the middle of an epoch
                for _, task in waiting:
                    task.cancel()

    def _read(self, buffer: _Buffer, rows: list[int]) -> Batch:
        size = self.source.size
        kind = torch.from_numpy(np.empty(0, self.source.dtype)).dtype
        images, masks = buffer.take((len(rows), len(self.bands), size, size), kind)
        self.source.planes(rows, self.bands, out=images.numpy())
        masks.numpy()[:, 0] = self.source.masks(rows)
        return Batch(torch.tensor(rows), images, masks)


class _Buffer:
    """Memory for the pixels of one batch, made when it is first needed."""

    def __init__(self, pin: bool) -> None:
        self.pin = pin
        self._images: Tensor | None = None
        self._masks: Tensor | None = None
        self._copied: torch.cuda.Event | None = None

    def take(self, shape: tuple[int, int, int, int], kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the memory once a GPU no longer reads it."""
        if self._copied is not None:
            self._copied.synchronize()
        if self._images is None or self._masks is None or self._images.shape != shape:
            batch, _, lines, samples = shape
            empty = pinned_empty if self.pin else torch.empty
            self._images = empty(shape, dtype=kind)
            self._masks = empty((batch, 1, lines, samples), dtype=torch.bool)
        return self._images, self._masks

    def last_use(self) -> None:
        """Note that all work on the pixels has been given to the GPU."""
        if self.pin:
            self._copied = torch.cuda.current_stream().record_event()
