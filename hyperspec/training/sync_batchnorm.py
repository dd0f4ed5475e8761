"""BatchNorm whose statistics are those of the whole batch, also when processes share it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hyperspec.models.backbones.norms import FrozenStatisticsBatchNorm2d
from hyperspec.utils.distributed import world


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the images of all processes; alone, and in evaluation, as its parent.

    torch's own ``SyncBatchNorm`` does the same on GPUs alone; this one works with every backend, so
    that what a test on CPUs holds is what runs. Statistics and gradients are computed in float32 or
    wider. Every process must hold as many images.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``, B the process's own images."""
        _, processes = world()
        if not self.training or processes == 1:
            return super().forward(x)
        y, mean, variance, count = _Synced.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        if self.track_running_stats:
            self._remember(mean, variance, count)
        normalised: Tensor = y
        return normalised

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # the plain mean over all batches so far
            share = 1.0 / float(self.num_batches_tracked)
        unbiased = variance * (count / max(count - 1, 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class _Synced(torch.autograd.Function):
    """Normalise with mean and variance over all processes, in two passes.

    Backward gives the gradient of the sum of all processes' losses at the own images, as
    :func:`hyperspec.utils.distributed.gather` does, and the own part of it at scale and shift,
    which DDP sums up.

    Source: Ioffe & Szegedy 2015, "Batch Normalization", section 3, with sums over all processes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        """Return normalised images, mean and variance ``(C,)``, and values per channel."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = x.numel() // x.shape[1] * world()[1]
        mean = _summed(wide) / count
        centred = wide - _along(mean)
        variance = _summed(centred.square()) / count
        inverse = (variance + eps).rsqrt()
        y = centred.mul_(_along(inverse))
        if weight is not None:
            y = y * _along(weight.to(y.dtype))
        if bias is not None:
            y = y + _along(bias.to(y.dtype))
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.count, ctx.shifts = count, bias is not None
        ctx.mark_non_differentiable(mean, variance)
        return y.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor, *unused: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        """Return the gradients at images, scale and shift."""
        x, weight, mean, inverse = ctx.saved_tensors
        g = gradient.to(mean.dtype)
        unit = (x.to(mean.dtype) - _along(mean)).mul_(_along(inverse))
        sums = torch.stack([_over_places(g), _over_places(g * unit)])
        at_weight = None if weight is None else sums[1].to(weight.dtype)
        at_bias = sums[0].to(mean.dtype if weight is None else weight.dtype) if ctx.shifts else None
        total = sums.clone()
        dist.all_reduce(total)
        total /= ctx.count
        inner = g - _along(total[0]) - unit * _along(total[1])
        scale = inverse if weight is None else inverse * weight.to(inverse.dtype)
        return (inner * _along(scale)).to(x.dtype), at_weight, at_bias, None


def _over_places(x: Tensor) -> Tensor:
    """Sum ``(B, C, H, W)`` to ``(C,)``."""
    return x.sum(dim=(0, 2, 3))


def _summed(x: Tensor) -> Tensor:
    """Sum over places and processes."""
    total = _over_places(x)
    dist.all_reduce(total)
    return total


def _along(channels: Tensor) -> Tensor:
    """Give ``(C,)`` the shape that images broadcast with."""
    return channels[:, None, None]


def synchronise(module: nn.Module) -> int:
    """Let each BatchNorm inside use the statistics of all processes; return how many do.

    Parameters, buffers and their names stay: only what ``forward`` does changes.

    Raises:
        TypeError: If one is of a kind that cannot be synchronised.
    """
    count = 0
    for name, child in module.named_modules():
        if not isinstance(child, _BatchNorm) or isinstance(child, FrozenStatisticsBatchNorm2d):
            continue
        if type(child) not in (nn.BatchNorm2d, SyncedBatchNorm2d):
            raise TypeError(f"{name} is a {type(child).__name__}, which cannot be synchronised")
        child.__class__ = SyncedBatchNorm2d
        count += 1
    return count
