"""Stems that know their bands: generated from wavelengths, or weighing them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from hyperspec.models.stems.projection import Projection
from hyperspec.utils.transfer import send

NUM_FREQUENCIES = 64
WINDOW_NM = 640.0  # period of the first: longer than the axis, so that its ends stay independent
FWHM_PER_SD = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian
GAIN = 10.0  # unit kernels have about 2 · 64 · 460 / 640 independent stretches on the axis: √92


def wavelength_features(wavelengths_nm: ArrayLike, fwhm_nm: ArrayLike | None = None) -> Tensor:
    """Return sines and cosines of wavelengths at evenly spaced frequencies, as each band sees them.

    A band reads the mean over its response, taken as Gaussian, so a wave of frequency f arrives
    with ``exp(-2 (pi f sd)²)`` of its height: a broad band gets a smooth kernel.

    Periods go from 640 nm down to 10 nm, so that a kernel can follow a feature of 10 nm. Evenly
    spaced frequencies give a random kernel equal power at every scale; with the geometric spacing
    of position embeddings the broad scales rule and narrow windows are learned late.

    Args:
        wavelengths_nm: Shape ``(n,)``, nanometres.
        fwhm_nm: Full widths at half maximum of the bands' responses, nanometres, shape ``(n,)``;
            None takes them as infinitely narrow.

    Returns:
        Float32, shape ``(n, 2 * NUM_FREQUENCIES)``.
    """
    nm = torch.tensor(np.asarray(wavelengths_nm, dtype=np.float64).copy())
    frequencies = torch.arange(1, NUM_FREQUENCIES + 1, dtype=torch.float64) / WINDOW_NM
    phase = 2 * math.pi * nm[:, None] * frequencies
    waves = torch.cat([phase.sin(), phase.cos()], dim=1)
    if fwhm_nm is not None:
        sd = torch.tensor(np.asarray(fwhm_nm, dtype=np.float64).copy()) / FWHM_PER_SD
        left = torch.exp(-2 * (math.pi * sd[:, None] * frequencies) ** 2)
        waves = waves * torch.cat([left, left], dim=1)
    return waves.float()


class WavelengthProjection(nn.Module):
    """A 1x1 projection whose weight for a band is a learned function of the band's wavelength.

    Channel k of a pixel is the mean over bands of ``g_k(nm) * x(nm)`` times a constant: an
    integral over the spectrum, estimated from the bands at hand. ``g_k`` is a Fourier series,
    linear in its parameters, which do not depend on the bands: one encoder takes any set of
    them. Without bias it commutes with every warp. Bands are given as to
    :func:`wavelength_features`.

    Source: the idea of kernels generated from wavelengths is that of Xiong et al. 2024, "Neural
    Plasticity-Inspired Multimodal Foundation Model for Earth Observation" (DOFA).
    """

    features: Tensor

    def __init__(
        self, wavelengths_nm: ArrayLike, channels: int, fwhm_nm: ArrayLike | None = None
    ) -> None:
        super().__init__()
        self.channels = channels
        self.generate = nn.Linear(2 * NUM_FREQUENCIES, channels)
        nn.init.normal_(self.generate.weight, std=NUM_FREQUENCIES**-0.5)  # sin² + cos² = 1
        nn.init.zeros_(self.generate.bias)
        # Not in checkpoints: they load whatever bands are at hand.
        features = wavelength_features(wavelengths_nm, fwhm_nm)
        self.register_buffer("features", features, persistent=False)
        self._shares: Tensor | None = None  # of each band in a step's mean, (n,)

    @property
    def num_bands(self) -> int:
        """Bands at hand."""
        return len(self.features)

    @property
    def weight(self) -> Tensor:
        """The generated weight, shape ``(k, n)``, with gradients to the generator.

        While training on a sample of the bands it is 0 for the others, and the mean is over the
        sample: the same numbers as from the sample's bands alone.
        """
        weight = self.generated(self.features)
        return weight if self._shares is None or not self.training else weight * self._shares

    def sample(self, bands: ArrayLike | None) -> None:
        """Train on some of the bands at hand until told otherwise; evaluation takes all of them.

        Args:
            bands: Places among the bands at hand, at least one, all different; None for all.
        """
        if bands is None:
            self._shares = None
            return
        chosen = torch.from_numpy(np.asarray(bands, np.int64))
        shares = torch.zeros(self.num_bands, dtype=self.features.dtype)
        shares.index_fill_(0, chosen, self.num_bands / len(chosen))
        self._shares = send(shares, self.features.device)

    def generated(self, features: Tensor) -> Tensor:
        """Return the weight ``(k, n)`` for bands of given wavelength features ``(n, ...)``."""
        generated: Tensor = self.generate(features)
        return generated.T * (GAIN / len(features))

    def set_wavelengths(self, wavelengths_nm: ArrayLike, fwhm_nm: ArrayLike | None = None) -> None:
        """Take other bands from now on, with the same parameters."""
        self.features = wavelength_features(wavelengths_nm, fwhm_nm).to(self.features)
        self._shares = None

    def forward(self, x: Tensor) -> Tensor:
        """Project bands to channels: ``(B, n, H, W)`` to ``(B, k, H, W)``."""
        return functional.conv2d(x, self.weight[:, :, None, None])


class BandAttention(nn.Module):
    """Squeeze and excitation over n bands, then a projection to k channels.

    The weights are ``2 sigmoid(...)`` of a last layer that starts at zero, so every band starts
    with weight 1 (a plain sigmoid could not give it). They depend on the image, so this stem
    does not commute with crops: it stands behind the warp.

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


class WindowProjection(nn.Module):
    """One 1x1 projection per window, side by side: n bands to W times k channels.

    As a matrix it has a block per window and is 0 elsewhere, so that everything spatial
    commutes with it, and a normalisation folds into it, as with any linear stem. Each window
    has a projection for its own bands, or all share a single generator of weights for all
    bands; ``windows`` holds the places of each window's bands, 0 to n - 1.
    """

    def __init__(
        self, projections: Sequence[nn.Module], windows: Sequence[Sequence[int]], num_bands: int
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList(projections)
        self.num_bands = num_bands
        # On the device before any step. Not in checkpoints: the config says it.
        for number, places in enumerate(windows):
            self.register_buffer(f"places_{number}", torch.tensor(list(places)), persistent=False)
        self.num_windows = len(windows)

    @property
    def weight(self) -> Tensor:
        """The block matrix, shape ``(W k, n)``."""
        rows = []
        for number in range(self.num_windows):
            places = self.get_buffer(f"places_{number}")
            projection = self.projections[number % len(self.projections)]
            if len(self.projections) == 1:
                assert isinstance(projection, WavelengthProjection), "only its weights fit any band"
                block = projection.generated(projection.features[places])
            else:
                assert isinstance(projection, Projection | WavelengthProjection)
                block = projection.weight
            rows.append(block.new_zeros(len(block), self.num_bands).index_copy(1, places, block))
        return torch.cat(rows)

    def forward(self, x: Tensor) -> Tensor:
        """Project bands to channels: ``(B, n, H, W)`` to ``(B, W k, H, W)``."""
        return functional.conv2d(x, self.weight[:, :, None, None])
