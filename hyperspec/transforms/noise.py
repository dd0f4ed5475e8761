"""Standard normal numbers for sensor noise: exact, or read from a bank at random places.

Making random numbers dominates a chain of augmentations on a CPU: 64 specimens of 408 bands and
32 x 32 pixels take 0.25 s. A bank of fixed numbers is read at memory speed instead.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# Places at which a block may start. 2**22 numbers are 16 MB, and the chance that two blocks lie
# so that equal pixels share their number is about (bands in a block) / 2**21.
BANK_STARTS = 2**22
# Numbers of one block, unless one channel is larger: small enough that blocks of one specimen
# differ in place, large enough that a batch needs few of them.
BLOCK = 2**20
BANK_SEED = 20260101


class NoiseSource:
    """Draws standard normal numbers in the shape of a batch of images.

    Args:
        num_pixels: Pixels of one channel; the bank holds at least one channel beyond its starts.
        use_bank: Read from the bank on a CPU. On a GPU, drawing costs less than reading.

    Note:
        With the bank, blocks of whole channels start at random places and have random signs. All
        numbers inside a block differ; equal pixels of two blocks are uncorrelated on average over
        the starts. Two views never share a number at a pixel except by the chance above.
    """

    def __init__(self, num_pixels: int, use_bank: bool) -> None:
        self.num_pixels = num_pixels
        self.use_bank = use_bank

    def draw(self, batch: int, channels: int, like: Tensor, seed: int) -> Tensor:
        """Return standard normal numbers ``(batch, channels, num_pixels)``; a function of the seed.

        The seed is 0 to 2**63 - 1; device and dtype are those of ``like``.
        """
        shape = (batch, channels, self.num_pixels)
        if not (self.use_bank and like.device.type == "cpu"):
            generator = torch.Generator(like.device).manual_seed(seed)
            return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
        bank = self._bank().to(like.dtype)
        result = torch.empty(shape, dtype=like.dtype)
        for block, start, sign in self._places(batch, channels, seed):
            index, first, last = block
            source = bank[start : start + (last - first) * self.num_pixels]
            torch.mul(source.view(last - first, -1), sign, out=result[index, first:last])
        return result

    def add_(self, y: Tensor, sd: Tensor, seed: int) -> Tensor:
        """Add the noise of :meth:`draw` to fresh images in place and return them.

        Nothing else may refer to the images ``(B, n, H, W)``; ``sd`` ``(n,)`` holds the
        standard deviation of each band.
        """
        batch, channels, height, width = y.shape
        if not (self.use_bank and y.device.type == "cpu"):
            noise = self.draw(batch, channels, y, seed)
            return y.addcmul_(noise.view_as(y), sd.to(y.dtype)[:, None, None])
        bank = self._bank().to(y.dtype)
        signed = sd.to(y.dtype)[:, None, None]
        for block, start, sign in self._places(batch, channels, seed):
            index, first, last = block
            source = bank[start : start + (last - first) * self.num_pixels]
            y[index, first:last].addcmul_(
                source.view(last - first, height, width), signed[first:last], value=sign
            )
        return y

    def _bank(self) -> Tensor:
        return _numbers(BANK_STARTS + max(BLOCK, self.num_pixels))

    def _places(
        self, batch: int, channels: int, seed: int
    ) -> list[tuple[tuple[int, int, int], int, int]]:
        """List (specimen, first channel, last channel), start in the bank, and sign."""
        step = max(1, BLOCK // self.num_pixels)
        firsts = range(0, channels, step)
        generator = torch.Generator().manual_seed(seed)
        starts = torch.randint(0, BANK_STARTS, (batch, len(firsts)), generator=generator).tolist()
        signs = torch.randint(0, 2, (batch, len(firsts)), generator=generator).tolist()
        return [
            ((index, first, min(first + step, channels)), starts[index][j], 2 * signs[index][j] - 1)
            for index in range(batch)
            for j, first in enumerate(firsts)
        ]


@lru_cache(maxsize=2)
def _numbers(length: int) -> Tensor:
    """Make the bank once per process, the same in every process."""
    return torch.randn(length, generator=torch.Generator().manual_seed(BANK_SEED))
