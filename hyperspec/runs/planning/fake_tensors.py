"""What a computation would take, without doing it: live bytes and FLOP of fake tensors.

Under torch's FakeTensorMode every operation gives a tensor with a shape and no memory. Watching
which of them live at once gives the peak; the formulas of torch's FLOP counter give the work.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from hyperspec.utils.device_kind import kind_of

aten = torch.ops.aten


def _attention(query: Any, key: Any, value: Any, *rest: Any, **words: Any) -> int:
    count: int = sdpa_flop_count(query.shape, key.shape, value.shape)  # type: ignore[no-untyped-call]
    return count


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *rest: Any, **w: Any) -> int:
    shapes = (grad.shape, query.shape, key.shape, value.shape)
    count: int = sdpa_backward_flop_count(*shapes)  # type: ignore[no-untyped-call]
    return count


# Attention on the CPU has kernels that torch's counter does not list.
_MORE: dict[Any, Callable[..., int]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def _linear(one: Tensor, other: Tensor, *_: object) -> int:
    return 2 * one.numel() * len(other)


# hyperspec.datasets.loading.packed_planes
if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    _MORE[torch.ops.mkldnn._linear_pointwise] = _linear


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of storages that are alive, their peak, the largest one, and FLOP.

    Enter it inside of a FakeTensorMode. What exists before is not counted. ``scratch`` takes an
    operation, its inputs and its outputs, and returns the bytes that its kernel takes for itself
    while it runs; from ``below`` bytes on a storage is not taken for the largest.
    """

    def __init__(
        self,
        scratch: Callable[[OpOverload, list[Tensor], list[Tensor]], int],
        below: float = float("inf"),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.scratch = scratch
        self.below = below
        self.now, self.peak, self.largest, self.flop = 0, 0, 0, 0
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it leaves."""
        words = kwargs or {}
        out = func(*args, **words)
        packet = func._overloadpacket
        count = _MORE.get(packet)
        if count is not None:
            self.flop += count(*args, **words)
        elif packet in flop_registry:
            self.flop += int(flop_registry[packet](*args, **words, out_val=out))
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        for tensor in made:
            self.hold(tensor)
        taken = [leaf for leaf in tree_leaves((args, words)) if isinstance(leaf, Tensor)]
        self.peak = max(self.peak, self.now + self.scratch(func, taken, made))
        return out

    def hold(self, tensor: Tensor) -> None:
        """Count a tensor's storage until it is released."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        self._alive.add(key)
        size = storage.nbytes()
        self.now += size
        if self.largest < size < self.below:
            self.largest = size
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


def no_scratch(func: OpOverload, taken: list[Tensor], made: list[Tensor]) -> int:
    """Kernels that take nothing for themselves, or whose buffers are not known (a GPU's)."""
    return 0


def convolution_scratch(func: OpOverload, taken: list[Tensor], made: list[Tensor]) -> int:
    """Return the bytes that oneDNN's convolutions take while they run.

    With the channels of the kernel last they compute in that layout: images in it are taken as they
    are, others are copied into it. Without, they compute in a blocked layout: images are copied
    into it, and the result out of it. Measured on float32 convolutions of kernels 1, 3 and 7,
    strides 1 and 2, what is freed in between included.
    """
    packet = func._overloadpacket
    if packet is aten.convolution:
        image, kernel = taken[:2]
        if channels_last(kernel) or channels_last(image):
            return 0 if channels_last(image) else image.nbytes
        return max(image.nbytes, made[0].nbytes)
    if packet is aten.convolution_backward:
        gradient, image, kernel = taken[:3]
        if channels_last(kernel) or channels_last(image):
            return sum(t.nbytes for t in (gradient, image) if not channels_last(t))
        outside, inside = gradient.nbytes, image.nbytes
        # The gradient at the input, then that of the weights.
        shrinks = outside and gradient.shape[-1] < image.shape[-1]
        data = 2 * inside if shrinks else max(outside, inside)
        return max(data if made[0].shape == image.shape else 0, outside + inside)
    return 0


def channels_last(images: Tensor) -> bool:
    """Say whether images lie with their channels last, and not in the usual order as well."""
    if images.ndim != 4:
        return False
    last = images.is_contiguous(memory_format=torch.channels_last)
    return last and not images.is_contiguous()


def scratch_of(device: str) -> Callable[[OpOverload, list[Tensor], list[Tensor]], int]:
    """Return what estimates the kernels' own buffers on a kind of device."""
    return convolution_scratch if device == "cpu" else no_scratch


def to_cpu(fake: nn.Module) -> None:
    """Move fake weights; ``Module.to`` does not take these."""
    moved: dict[int, Tensor] = {}  # by identity: some are shared

    def here(value: Tensor) -> Tensor:
        if value.device.type != "cpu" and id(value) not in moved:
            there = value.detach().to("cpu")
            is_weight = isinstance(value, nn.Parameter)
            moved[id(value)] = nn.Parameter(there, value.requires_grad) if is_weight else there
        return moved.get(id(value), value)

    for inside in fake.modules():
        for held in (inside._parameters, inside._buffers):
            for name, value in held.items():
                if value is not None:
                    held[name] = here(value)  # type: ignore[assignment]


def norms_in_float32(module: nn.Module) -> None:
    """Do as CUDA's autocast, which runs these norms in float32; the CPU's leaves them in half."""
    for inside in module.modules():
        if isinstance(inside, nn.GroupNorm | nn.LayerNorm):
            inside.register_forward_pre_hook(_in_float32)


def _in_float32(norm: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if kind_of(inputs[0].device) == "cpu" or not torch.is_autocast_enabled("cpu"):
        return inputs
    return tuple(value.float() for value in inputs)
