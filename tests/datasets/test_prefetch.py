"""Batches read by threads into buffers that are used again."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hyperspec.datasets.loading.prefetch import HELD, Batch, ReadAhead, num_buffers
from hyperspec.runs.planning.dummy_data import StandIn
from hyperspec.spectra.axis import mission_axis
from hyperspec.utils.errors import CatalogueError

BATCHES = [[i, 19 - i, (7 * i + 3) % 20] for i in range(9)]


class Slow(StandIn):
    """Takes its time, notes who reads at once, and can fail."""

    def __init__(self, seconds: float = 0.0, fails_at: int = -1, together: int = 1) -> None:
        super().__init__(mission_axis(), 4, 20, np.dtype(np.float16))
        self.seconds, self.fails_at = seconds, fails_at
        self.reading, self.most, self.calls = 0, 0, 0
        self.meeting = threading.Barrier(together)  # so many first reads wait for one another
        self._lock = threading.Lock()

    def planes(
        self,
        rows: Sequence[int],
        bands: object = None,
        out: NDArray[np.floating] | None = None,
    ) -> NDArray[np.floating]:
        with self._lock:
            self.reading += 1
            self.calls += 1
            self.most = max(self.most, self.reading)
            number = self.calls
        if number <= self.meeting.parties:
            self.meeting.wait(120)
        time.sleep(self.seconds)
        if self.fails_at in rows:
            raise CatalogueError("plane file cut short")
        assert out is not None
        # Each value names its row and band.
        out[:] = np.asarray(rows)[:, None, None, None] + np.asarray(bands)[:, None, None] / 512
        with self._lock:
            self.reading -= 1
        return out


def expected(rows: list[int]) -> torch.Tensor:
    values = np.asarray(rows)[:, None] + np.array([3, 7]) / 512
    return torch.from_numpy(values).half()[:, :, None, None].expand(-1, -1, 4, 4)


def check(batch: Batch, rows: list[int], source: StandIn) -> None:
    assert batch.rows.tolist() == rows
    assert batch.images is not None
    assert batch.masks is not None
    assert torch.equal(batch.images, expected(rows))
    assert torch.equal(batch.masks[:, 0], torch.from_numpy(source.masks(rows)))


@pytest.mark.parametrize(("threads", "factor"), [(1, None), (3, 1), (2, 4)])
def test_batches_come_in_order_and_hold_until_two_more_were_taken(
    threads: int, factor: int | None
) -> None:
    source = Slow(0.002)
    loader = ReadAhead(source, (3, 7), BATCHES, threads, factor)
    assert len(loader) == len(BATCHES)
    places = set()
    for _ in range(2):  # epochs
        seen: list[tuple[Batch, list[int]]] = []
        for batch, rows in zip(loader, BATCHES, strict=True):
            seen.append((batch, rows))
            time.sleep(0.004)  # the threads go on meanwhile
            for held, its_rows in seen[-HELD:]:
                check(held, its_rows, source)
            assert batch.images is not None
            places.add(batch.images.data_ptr())
    assert len(places) <= num_buffers(threads, factor) == HELD + threads * (factor or 1)
    assert source.most <= threads


def test_threads_read_at_once_and_beside_the_step() -> None:
    source = Slow(together=3)
    for taken, _ in enumerate(ReadAhead(source, (3, 7), BATCHES, 3), 1):
        deadline = time.monotonic() + 600
        while source.calls < min(taken + 1, len(BATCHES)):  # the next is read in this step
            assert time.monotonic() < deadline
            time.sleep(0.001)
    assert source.most == 3


def test_an_error_of_a_thread_reaches_the_step_and_ends_the_reading() -> None:
    source = Slow(fails_at=BATCHES[2][1])
    batches = iter(ReadAhead(source, (3, 7), BATCHES, 2))
    for rows in BATCHES[:2]:
        check(next(batches), rows, source)
    with pytest.raises(CatalogueError, match="plane file cut short"):
        next(batches)
    assert source.calls < len(BATCHES)


def test_a_training_that_ends_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    batches = iter(ReadAhead(Slow(0.01), (3, 7), BATCHES, 2))
    next(batches)
    assert threading.active_count() > before
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_that_is_behind_keeps_its_batch() -> None:
    loader = ReadAhead(Slow(), (3, 7), BATCHES, 2, pin=True)
    copies = []
    for batch in loader:
        assert batch.images is not None
        assert batch.images.is_pinned()
        torch.cuda._sleep(20_000_000)  # the copy waits behind it; the host goes on
        copies.append(batch.images.to("cuda", non_blocking=True))
    for copy, rows in zip(copies, BATCHES, strict=True):
        assert torch.equal(copy.cpu(), expected(rows))
