"""Stems: how n bands at given wavelengths enter a backbone made for three colours.

In front of pretrained weights they start from the colour kernels, so that a flat spectrum (the
same value in every band) gets the response that the pretrained network gives to the same grey.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

RGB_NM = (650.0, 550.0, 450.0)  # where a pretrained network's R, G, B kernels are taken to lie


def colour_shares(wavelengths_nm: ArrayLike) -> NDArray[np.float64]:
    """Return how much of the R, G and B kernel each band receives.

    Linear interpolation over nm between 450, 550 and 650 nm, constant outside. Each colour's
    shares are scaled to sum to 1, which keeps the response to a flat spectrum; a colour that no
    band is near is shared evenly.

    Args:
        wavelengths_nm: Band centres, nanometres, shape ``(n,)``, any order.

    Returns:
        Shares, shape ``(n, 3)``, columns R, G, B, each column sums to 1.
    """
    nm = np.asarray(wavelengths_nm, dtype=np.float64)
    grid = RGB_NM[::-1]
    shares = np.stack([np.interp(nm, grid, np.eye(3)[2 - colour]) for colour in range(3)], axis=1)
    totals = shares.sum(axis=0)
    shares[:, totals == 0] = 1.0
    return np.asarray(shares / shares.sum(axis=0))


def inflate_kernels(rgb: Tensor, wavelengths_nm: ArrayLike) -> Tensor:
    """Widen kernels ``(out, 3, kh, kw)``, in the order R, G, B, to n bands.

    The sum over bands is the sum over colours. Wavelengths are band centres ``(n,)`` in nanometres;
    the result is ``(out, n, kh, kw)``.
    """
    shares = torch.from_numpy(colour_shares(wavelengths_nm)).to(rgb)
    return torch.einsum("ocyx,nc->onyx", rgb, shares)


def widened(
    rgb: nn.Conv2d, wavelengths_nm: ArrayLike, *, pretrained: bool, std: float
) -> nn.Conv2d:
    """Return a backbone's first convolution for channels at given wavelengths in nanometres.

    It starts from the kernels for three colours where they are pretrained, else at random with
    the given standard deviation.
    """
    wide = nn.Conv2d(
        np.size(wavelengths_nm),
        rgb.out_channels,
        kernel_size=(rgb.kernel_size[0], rgb.kernel_size[1]),
        stride=(rgb.stride[0], rgb.stride[1]),
        padding=(int(rgb.padding[0]), int(rgb.padding[1])),
        bias=rgb.bias is not None,
    )
    if pretrained:
        wide.weight.data = inflate_kernels(rgb.weight.data, wavelengths_nm)
    else:
        nn.init.normal_(wide.weight, std=std)
    if rgb.bias is not None:
        wide.bias = rgb.bias
    return wide


def projection_centres(wavelengths_nm: ArrayLike, channels: int) -> NDArray[np.float64]:
    """Return k wavelengths spread evenly over the bands' range, nanometres, shape ``(k,)``."""
    nm = np.asarray(wavelengths_nm, dtype=np.float64)
    if channels == 1:
        return np.array([(nm.min() + nm.max()) / 2])
    return np.linspace(nm.min(), nm.max(), channels)


def smooth_projection(wavelengths_nm: ArrayLike, channels: int) -> NDArray[np.float64]:
    """Return a projection whose rows are triangular averages around evenly spread wavelengths.

    The half width is the larger of the channels' spacing and the widest gap between bands, so
    every row has a band inside. With few bands this is an interpolation, with many a binning.

    Args:
        wavelengths_nm: Band centres, nanometres, shape ``(n,)``.
        channels: k, at least 1.

    Returns:
        Weights, shape ``(k, n)``, non-negative, each row sums to 1: flat spectra stay flat.
    """
    nm = np.asarray(wavelengths_nm, dtype=np.float64)
    centres = projection_centres(nm, channels)
    gaps = np.diff(np.sort(nm))
    spacing = (nm.max() - nm.min()) / max(channels - 1, 1)
    half_width = max(spacing, gaps.max(initial=0.0)) or 1.0  # a single band: any width will do
    weights = np.maximum(1 - np.abs(nm - centres[:, None]) / half_width, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


class Projection(nn.Module):
    """A 1x1 convolution without bias, n to k: it commutes with every warp and blur of the plane.

    Starts with unit response variance to white input of unit variance, ``N(0, 1/n)``.
    """

    def __init__(self, num_bands: int, channels: int) -> None:
        super().__init__()
        self.num_bands, self.channels = num_bands, channels
        self.weight = nn.Parameter(torch.empty(channels, num_bands))
        nn.init.normal_(self.weight, std=num_bands**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Project bands to channels: ``(B, n, H, W)`` to ``(B, k, H, W)``."""
        return functional.conv2d(x, self.weight[:, :, None, None])

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"{self.num_bands}, {self.channels}"
