"""Standard normal numbers for sensor noise: exact, or read from a bank at random places.

Making random numbers dominates a chain of augmentations on a CPU: 64 specimens of 408 bands and
32 x 32 pixels take 0.25 s. A bank of fixed numbers is read at memory speed instead.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from hyperspec.utils.device_kind import kind_of

# Places at which a block may start. 2**22 numbers are 16 MB, and the chance that two blocks lie
# so that equal pixels share their number is about (bands in a block) / 2**21.
BANK_STARTS = 2**22
# Numbers of one block, unless one channel is larger: small enough that blocks of one specimen
# differ in place, large enough that a batch needs few of them.
BLOCK = 2**20
BANK_SEED = 20260101


class Block(NamedTuple):
    """Channels that take consecutive numbers of the bank: from where on, and with which sign."""

    bands: slice
    start: int
    sign: int


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
        if not self.banked(like.device):
            generator = torch.Generator(like.device).manual_seed(seed)
            return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
        bank = self._bank().to(like.dtype)
        result = torch.empty(shape, dtype=like.dtype)
        for image, blocks in zip(result, self.places(batch, channels, seed), strict=True):
            for block in blocks:
                torch.mul(self._read(bank, block), block.sign, out=image[block.bands])
        return result

    def add_(self, y: Tensor, sd: Tensor, seed: int) -> Tensor:
        """Add the noise of :meth:`draw` to fresh images in place and return them.

        Nothing else may refer to the images ``(B, n, H, W)``; ``sd`` ``(n,)`` holds the
        standard deviation of each band.
        """
        batch, channels = y.shape[:2]
        if not self.banked(y.device):
            noise = self.draw(batch, channels, y, seed)
            return y.addcmul_(noise.view_as(y), sd.to(y.dtype)[:, None, None])
        bank, sd = self._bank().to(y.dtype), sd.to(y.dtype)[:, None]
        for image, blocks in zip(y.flatten(2), self.places(batch, channels, seed), strict=True):
            for block in blocks:
                numbers = self._read(bank, block)
                image[block.bands].addcmul_(numbers, sd[block.bands], value=block.sign)
        return y

    def add_block_(self, y: Tensor, sd: Tensor, block: Block) -> None:
        """Add what :meth:`add_` adds to one block of a specimen, ``(c, num_pixels)``.

        Only where numbers are :meth:`banked`; ``sd`` is each of these bands' level, ``(c,)``.
        """
        y.addcmul_(self._read(self._bank(), block).to(y.dtype), sd[:, None], value=block.sign)

    def banked(self, device: torch.device) -> bool:
        """Whether numbers for such a device are read from the bank."""
        return self.use_bank and kind_of(device) == "cpu"

    def places(self, batch: int, channels: int, seed: int) -> list[list[Block]]:
        """Divide the channels of each specimen into blocks, and place these in the bank."""
        step = max(1, BLOCK // self.num_pixels)
        firsts = range(0, channels, step)
        generator = torch.Generator().manual_seed(seed)
        starts = torch.randint(0, BANK_STARTS, (batch, len(firsts)), generator=generator).tolist()
        signs = torch.randint(0, 2, (batch, len(firsts)), generator=generator).tolist()
        return [
            [
                Block(slice(first, min(first + step, channels)), start, 2 * sign - 1)
                for first, start, sign in zip(firsts, *row, strict=True)
            ]
            for row in zip(starts, signs, strict=True)
        ]

    def _read(self, bank: Tensor, block: Block) -> Tensor:
        count = block.bands.stop - block.bands.start
        return bank[block.start : block.start + count * self.num_pixels].view(count, -1)

    def _bank(self) -> Tensor:
        return _numbers(BANK_STARTS + max(BLOCK, self.num_pixels))


@lru_cache(maxsize=2)
def _numbers(length: int) -> Tensor:
    """Make the bank once per process, the same in every process."""
    return torch.randn(length, generator=torch.Generator().manual_seed(BANK_SEED))
