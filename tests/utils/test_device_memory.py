"""Memory of devices that are not here, by standing in for what torch says of them."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
import torch

from hyperspec.training import allocator
from hyperspec.utils import device_memory
from hyperspec.utils.device_kind import widest_float
from hyperspec.utils.device_memory import free_bytes, free_memory, pinned_empty, taken_bytes
from hyperspec.utils.transfer import send, send_together

CUDA, MPS, CPU = (torch.device(kind) for kind in ("cuda", "mps", "cpu"))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        device_memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=900)
    )


@pytest.mark.usefixtures("host")
def test_what_torch_keeps_of_freed_tensors_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 30)
    assert free_bytes(CUDA) == 100 + 70 - 30
    assert taken_bytes(CUDA) == 30
    assert free_bytes(CPU) == 900


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("most", "free"), [(600, 500), (5000, 900), (50, 0)])
def test_a_mac_shares_its_memory_with_the_system(
    most: int, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: most)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 100)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 40)
    assert free_bytes(MPS) == free
    assert taken_bytes(MPS) == 40
    assert allocator.peak_mb(MPS) == 100 / 1e6


def test_memory_is_collected_then_returned_to_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda: order.append("collected"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: order.append("returned"))
    monkeypatch.setattr(torch.accelerator, "empty_host_cache", lambda: order.append("unpinned"))
    free_memory()
    assert order == ["collected", "returned", "unpinned"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: order.append("of a Mac"))
    free_memory()
    assert order[3:] == ["collected", "of a Mac"]


class Runtime:
    """CUDA's runtime, which notes what is pinned."""

    def __init__(self, status: int = 0) -> None:
        self.pinned: dict[int, int] = {}
        self.status = status

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802
        self.pinned[address] = size
        return self.status

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        del self.pinned[address]
        return 0


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime()

    def check(status: int) -> None:
        if status:
            raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: made)
    monkeypatch.setattr(torch.cuda, "check_error", check)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return made


def test_pinned_memory_has_the_size_that_was_asked_for_and_goes(runtime: Runtime) -> None:
    planes = pinned_empty((5, 3, 7), torch.float16)
    assert planes.shape == (5, 3, 7)
    assert runtime.pinned == {planes.data_ptr(): 5 * 3 * 7 * 2}  # no power of two
    part = planes[2:]
    del planes
    assert runtime.pinned, "a view still needs it"
    del part
    gc.collect()
    assert runtime.pinned == {}


def test_memory_that_cannot_be_pinned_is_said(runtime: Runtime) -> None:
    runtime.status = 2
    with pytest.raises(RuntimeError, match="out of memory"):
        pinned_empty((5, 3), torch.float16)


def test_without_cuda_it_is_ordinary_memory() -> None:
    if torch.cuda.is_available():
        pytest.skip("this is with it")
    assert pinned_empty((4,), torch.bool).shape == (4,)


def test_only_a_mac_has_no_float64() -> None:
    assert [widest_float(one) for one in (CPU, CUDA, MPS)] == [
        torch.float64, torch.float64, torch.float32
    ]  # fmt: skip


def test_float64_goes_to_a_mac_as_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[torch.dtype] = []

    def to(self: torch.Tensor, device: torch.device, **_: object) -> torch.Tensor:
        sent.append(self.dtype)
        return self

    matrix = torch.eye(3, dtype=torch.float64)
    short = matrix.float()
    places = torch.arange(3)
    narrowed = {torch.float64: short}
    real = torch.Tensor.to

    def either(self: torch.Tensor, *words: object, **more: object) -> torch.Tensor:
        return narrowed[self.dtype] if words[0] is torch.float32 else to(self, words[0], **more)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.Tensor, "to", either)
    send_together([matrix, None, places], MPS)
    send(matrix, MPS)
    monkeypatch.setattr(torch.Tensor, "to", real)
    assert sent == [torch.float32, torch.int64, torch.float32]
