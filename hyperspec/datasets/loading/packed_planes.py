"""Planes projected straight from the narrow type they are stored in: no float32 batch exists.

On a CPU, a fresh float32 copy of a batch of 408 bands costs more than the projection of it: the
system hands out new pages one by one. Here a block of pixels is widened into one small buffer that
stays in the cache, and is multiplied from there by the weights of both views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Numbers widened at once, 8 MB in float32. 4096 pixels of 408 bands were the fastest of 512 to
# 50000 when tried.
_BLOCK = 2**21


@dataclass(frozen=True)
class StoredPlanes:
    """A batch of images that stay where they live, on the CPU.

    Args:
        planes: Reflectance in any floating type, shape ``(N, C, S, S)``.
        rows: The batch's images among them, B of them.
        channels: The batch's bands among the C, shape ``(n,)``; None for all.
    """

    planes: Tensor
    rows: Sequence[int]
    channels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_bands(self) -> int:
        """Bands n of the batch."""
        return self.planes.shape[1] if self.channels is None else len(self.channels)

    @property
    def num_pixels(self) -> int:
        """Pixels P of a band."""
        return self.planes.shape[2] * self.planes.shape[3]

    def blocks(self, item: int, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Widen one image block by block into a buffer that is used again.

        Args:
            item: Place in the batch.
            dtype: Type to widen to.

        Yields:
            The block's pixels, and their values of shape ``(n, pixels)``, valid until the next.
        """
        values = self.planes[self.rows[item]].flatten(1)
        if self.channels is not None:
            values = values[self.channels]
        step = min(max(_BLOCK // self.num_bands, 1), self.num_pixels)
        buffer = torch.empty(self.num_bands * step, dtype=dtype)
        for start in range(0, self.num_pixels, step):
            pixels = slice(start, min(start + step, self.num_pixels))
            part = values[:, pixels]
            yield pixels, buffer[: part.numel()].view_as(part).copy_(part)


def project_stored(
    matrix: Tensor, constant: Tensor, images: StoredPlanes, sizes: list[int]
) -> tuple[Tensor, ...]:
    """Return ``matrix @ images + constant`` per pixel, with gradients to matrix and constant.

    In parts that are tensors of their own: of one whole, torch would copy slices and their
    gradients, and operations in place on them would copy once more.

    Args:
        matrix: One linear map over bands per image, shape ``(B, m, n)``.
        constant: Added to the result, shape ``(B, m)``.
        images: B images of n bands and P pixels.
        sizes: Rows of each part, which add up to m.

    Returns:
        For each part, shape ``(B, size, P)``, in the type of ``matrix``.
    """
    parts: tuple[Tensor, ...] = _ProjectStored.apply(matrix, constant, images, sizes)  # type: ignore[no-untyped-call]
    return parts


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Return ``one @ other.T``.

    oneDNN, which computes the convolutions, does it twice as fast as MKL on processors that are
    not Intel's (200 against 90 GFLOP/s on one core with AVX-512), but torch gives float32 products
    to MKL. The operation is the one that torch's compiler calls; without it MKL does.
    """
    if one.dtype == torch.float32 and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        found: Tensor = torch.ops.mkldnn._linear_pointwise(one, other, None, "none", [], "")
        return found
    return one @ other.T


class _ProjectStored(torch.autograd.Function):
    """The product, with the images widened once more in the backward pass instead of kept."""

    @staticmethod
    def forward(
        ctx: Any, matrix: Tensor, constant: Tensor, images: StoredPlanes, sizes: list[int]
    ) -> tuple[Tensor, ...]:
        batch = len(matrix)
        parts = tuple(matrix.new_empty(batch, size, images.num_pixels) for size in sizes)
        for item in range(batch):
            added = torch.split(constant[item][:, None], sizes)
            for pixels, values in images.blocks(item, matrix.dtype):
                products = torch.split(_product(matrix[item], values.T), sizes)
                for part, product, own in zip(parts, products, added, strict=True):
                    torch.add(product, own, out=part[item][:, pixels])
        ctx.images, ctx.shape = images, matrix.shape
        return parts

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, needed = ctx.images, ctx.needs_input_grad
        matrix = constant = None
        if needed[0]:
            matrix = gradients[0].new_zeros(ctx.shape)
            for item, own in enumerate(zip(*gradients, strict=True)):
                for pixels, values in images.blocks(item, matrix.dtype):
                    block = torch.cat([gradient[:, pixels] for gradient in own])
                    matrix[item] += _product(block, values)
        if needed[1]:
            constant = torch.cat([gradient.sum(2) for gradient in gradients], 1)
        return matrix, constant, None, None
