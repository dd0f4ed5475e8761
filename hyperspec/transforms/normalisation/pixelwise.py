"""Normalisations of single spectra: what they share, SNV, and unit length."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

# A spectrum whose spread or length is below this share of its largest value holds nothing but
# float32 rounding.
RELATIVE_ZERO = 1e-6
# Bytes that are normalised at a time on a CPU, where no gradient is wanted, and the most blocks: a
# plan traces each of them, which takes 5 ms.
_BLOCK = 2**22
_MOST_BLOCKS = 256


class Normalisation(nn.Module, ABC):
    """Maps reflectance ``(B, n, H, W)`` to normalised values of the same shape and type."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise a batch.

        Args:
            x: Reflectance, shape ``(B, n, H, W)``.
            mask: True on the specimen, shape ``(B, 1, H, W)``; None means everywhere.
        """

    @property
    def per_band_affine(self) -> tuple[Tensor, Tensor] | None:
        """Scale and offset per band, each ``(n,)``, where ``scale * x + offset`` says it all."""
        return None


class Pixelwise(Normalisation):
    """A normalisation of single spectra: background pixels become 0 and are never looked at."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise the foreground's spectra; see :class:`Normalisation`."""
        if x.requires_grad or x.device.type != "cpu" or x.nbytes <= _BLOCK:
            return self._whole(x, mask)
        # What is computed on the way stays in the processor's cache, and takes no new pages.
        found = torch.empty_like(x)
        block = max(_BLOCK, x.nbytes // _MOST_BLOCKS)
        images = max(1, block * len(x) // x.nbytes)
        lines = max(1, block * x.shape[2] * len(x) // x.nbytes)
        for image in range(0, len(x), images):
            for line in range(0, x.shape[2], lines):
                part = (slice(image, image + images), slice(None), slice(line, line + lines))
                found[part] = self._whole(x[part], None if mask is None else mask[part])
        return found

    def _whole(self, x: Tensor, mask: Tensor | None) -> Tensor:
        # Half precision cannot hold the sums over 408 bands, whatever autocast prefers.
        with torch.autocast(device_type=x.device.type, enabled=False):
            values = x.to(torch.promote_types(x.dtype, torch.float32))
            if mask is None:
                return self.normalise(values).to(x.dtype)
            # Before as well as after: the background may hold NaN.
            values = self.normalise(torch.where(mask, values, 0.0))
            return torch.where(mask, values, 0.0).to(x.dtype)

    @abstractmethod
    def normalise(self, x: Tensor) -> Tensor:
        """Normalise spectra along dimension 1 of ``(B, n, H, W)``, float32 or float64."""


class Snv(Pixelwise):
    """Standard normal variate: each spectrum minus its mean, over its standard deviation.

    A constant spectrum, and any spectrum of one band, becomes zeros.

    Source: Barnes, Dhanoa, Lister 1989, "Standard normal variate transformation and de-trending of
        near-infrared diffuse reflectance spectra", eq. 1 (divisor n - 1).
    """

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise spectra along dimension 1; see :class:`Pixelwise`."""
        if x.shape[1] == 1:
            return torch.zeros_like(x)
        centred = x - x.mean(dim=1, keepdim=True)
        deviation = centred.square().sum(dim=1, keepdim=True).div(x.shape[1] - 1).sqrt()
        return divide(centred, deviation, x)


class UnitLength(Pixelwise):
    """Each spectrum over its Euclidean length; a spectrum of zeros stays zeros."""

    def normalise(self, x: Tensor) -> Tensor:
        """Normalise spectra along dimension 1; see :class:`Pixelwise`."""
        return divide(x, x.norm(dim=1, keepdim=True), x)


def divide(values: Tensor, divisor: Tensor, spectra: Tensor) -> Tensor:
    """Divide, giving 0 where the divisor is nothing beside the spectrum's largest value."""
    smallest = spectra.abs().amax(dim=1, keepdim=True) * RELATIVE_ZERO
    usable = divisor > smallest
    return torch.where(usable, values / torch.where(usable, divisor, 1.0), 0.0)
