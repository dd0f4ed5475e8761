"""Stems that know their bands: generated from wavelengths, or weighing them."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from hyperspec.models.stems import Projection

NUM_PERIODS = 32
SHORTEST_NM, LONGEST_NM = 5.0, 1000.0  # from half a narrow feature's width to twice the axis
HIDDEN = 128


def wavelength_features(wavelengths_nm: ArrayLike) -> Tensor:
    """Return sines and cosines of wavelengths at geometrically spaced periods.

    Args:
        wavelengths_nm: Shape ``(n,)``, nanometres.

    Returns:
        Float32, shape ``(n, 2 * NUM_PERIODS)``.

    Source: Xiong et al. 2024, "Neural Plasticity-Inspired Multimodal Foundation Model for Earth
    Observation" (DOFA); the periods are chosen for narrow features.
    """
    nm = torch.tensor(np.asarray(wavelengths_nm, dtype=np.float64).copy())
    steps = torch.linspace(0, 1, NUM_PERIODS, dtype=torch.float64)
    periods = SHORTEST_NM * (LONGEST_NM / SHORTEST_NM) ** steps
    phase = 2 * math.pi * nm[:, None] / periods
    return torch.cat([phase.sin(), phase.cos()], dim=1).float()


class WavelengthProjection(nn.Module):
    """A 1x1 projection whose weight for a band is a learned function of the band's wavelength.

    Channel k of a pixel is the mean over bands of ``g_k(nm) * x(nm)``: an integral over the
    spectrum, estimated from the bands at hand. The parameters do not depend on the bands, so one
    encoder takes any set of them. Without bias it commutes with every warp.

    Args:
        wavelengths_nm: Centres of the bands, nanometres, shape ``(n,)``.
        channels: k.
    """

    features: Tensor

    def __init__(self, wavelengths_nm: ArrayLike, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.generate = nn.Sequential(
            nn.Linear(2 * NUM_PERIODS, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, channels)
        )
        # Not in checkpoints: they load whatever bands are at hand.
        self.register_buffer("features", wavelength_features(wavelengths_nm), persistent=False)

    @property
    def num_bands(self) -> int:
        """Bands at hand."""
        return len(self.features)

    @property
    def weight(self) -> Tensor:
        """The generated weight, shape ``(k, n)``, with gradients to the generator."""
        generated: Tensor = self.generate(self.features)
        return generated.T / self.num_bands

    def set_wavelengths(self, wavelengths_nm: ArrayLike) -> None:
        """Take other bands from now on, with the same parameters."""
        self.features = wavelength_features(wavelengths_nm).to(self.features)

    def forward(self, x: Tensor) -> Tensor:
        """Project bands to channels: ``(B, n, H, W)`` to ``(B, k, H, W)``."""
        return functional.conv2d(x, self.weight[:, :, None, None])


class BandAttention(nn.Module):
    """Squeeze and excitation over bands, then a projection.

    The weights are ``2 sigmoid(...)`` of a last layer that starts at zero, so every band starts
    with weight 1 (a plain sigmoid could not give it). They depend on the image, so this stem does
    not commute with crops: it stands behind the warp.

    Args:
        num_bands: n.
        channels: k.

    Source: Hu, Shen, Sun 2018, "Squeeze-and-Excitation Networks", section 3.
    """

    def __init__(self, num_bands: int, channels: int) -> None:
        super().__init__()
        hidden = max(4, num_bands // 16)
        self.squeeze = nn.Linear(num_bands, hidden)
        self.excite = nn.Linear(hidden, num_bands)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)
        self.projection = Projection(num_bands, channels)

    def band_weights(self, x: Tensor) -> Tensor:
        """Return the weight of each band, 0 to 2: ``(B, n, H, W)`` to ``(B, n)``."""
        hidden = functional.relu(self.squeeze(x.mean(dim=(2, 3))))
        return 2 * torch.sigmoid(self.excite(hidden))

    def forward(self, x: Tensor) -> Tensor:
        """Weigh and project bands: ``(B, n, H, W)`` to ``(B, k, H, W)``."""
        projected: Tensor = self.projection(x * self.band_weights(x)[:, :, None, None])
        return projected
