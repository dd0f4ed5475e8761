"""Linear maps in front of an encoder's own stem: fixed projections, and selectors that learn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from hyperspec.models.stems.projection import Projection
from hyperspec.models.stems.wavelength import WavelengthProjection, wavelength_features
from hyperspec.utils.transfer import send

# Breaks the tie between selectors that start alike; far below a step of the optimizer.
START_SD = 0.01


class FixedProjection(nn.Module):
    """A 1x1 convolution of weights ``(n, C)`` that no training changes; it is in checkpoints."""

    weight: Tensor

    def __init__(self, matrix: NDArray[np.float64]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(matrix, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of the bands: ``(B, C, H, W)`` to ``(B, n, H, W)``."""
        # Differences of nearly equal bands are what components are made of: never in half.
        with torch.autocast(x.device.type, enabled=False):
            return functional.conv2d(x.float(), self.weight[:, :, None, None])

    def fold(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Return the map over bands of this projection, a factor per channel, and another map.

        From a map ``(k, n)`` over channels and the factors ``(n,)`` in front of it:
        ``weight @ diag(scale) @ matrix``, shape ``(k, C)``.
        """
        with torch.autocast(weight.device.type, enabled=False):
            folded: Tensor = (weight.flatten(1) * scale) @ self.weight
            return folded


class PhotonProjection(FixedProjection):
    """A fixed projection whose channels have the noise of the photons that they are made of.

    A channel of reflectance R that N photons of a white make gets a Gaussian error of standard
    deviation ``sqrt(R / N)``, 0 where R is below 0. It is drawn from the image's own values: the
    same image has the same error each time and in any batch, as a photograph has, and an image
    whose light was changed (a view) has another one.

    Args:
        matrix: Weights, ``(n, C)``.
        white_photons: N of each channel, ``(n,)``, above 0.
    """

    white_photons: Tensor

    def __init__(self, matrix: NDArray[np.float64], white_photons: Sequence[float]) -> None:
        super().__init__(matrix)
        given = torch.tensor(white_photons, dtype=torch.float32)
        self.register_buffer("white_photons", given)

    @property
    def without_noise(self) -> FixedProjection:
        """The same projection for what is no single pixel, such as the mean of many."""
        return FixedProjection(self.weight.cpu().double().numpy()).to(self.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels of the bands: ``(B, C, H, W)`` to ``(B, n, H, W)``."""
        channels = super().forward(x)
        deviation = (channels.clamp_min(0) / self.white_photons[:, None, None]).sqrt()
        return channels + deviation * torch.stack([_noise_of(one, channels[0]) for one in x])


def _noise_of(image: Tensor, like: Tensor) -> Tensor:
    """Return unit noise of a shape, seeded by the bits of an image."""
    # A sum of whole numbers: the same for any order of adding, on any device.
    seed = int(image.detach().float().contiguous().view(torch.int32).sum(dtype=torch.int64))
    generator = torch.Generator(like.device).manual_seed(seed)
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


class ConcreteSelector(nn.Module):
    """N choices among C bands, 1 to C, relaxed to weights that sum to 1 and have a gradient.

    While training a row is ``softmax((logits + gumbel noise) / temperature)``, a draw from the
    concrete distribution; in evaluation mode the noise is left out. Once ``hard`` is set, rows
    are the one-hot rows of :meth:`assignment`.

    Source: Maddison, Mnih, Teh 2017, "The Concrete Distribution", eq. 10; Jang, Gu, Poole 2017,
    "Categorical Reparameterization with Gumbel-Softmax", eq. 2.
    """

    temperature: Tensor
    noise: Tensor

    def __init__(self, num_rows: int, num_bands: int) -> None:
        super().__init__()
        if not 1 <= num_rows <= num_bands:
            raise ValueError(f"{num_rows} selectors were asked for over {num_bands} bands.")
        self.logits = nn.Parameter(START_SD * torch.randn(num_rows, num_bands))
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer("noise", torch.zeros(num_rows, num_bands), persistent=False)
        self.hard = False

    def resample(self, seed: int) -> None:
        """Draw the noise anew; it then holds for every use of :attr:`weight`.

        One draw serves both views of a step and every micro-batch, and a seed that is made of the
        step lets a continued run draw what the whole one would have.
        """
        generator = torch.Generator().manual_seed(seed)
        # Gumbel is minus the log of an exponential, which torch draws above 0.
        exponential = torch.empty(self.noise.shape).exponential_(generator=generator)
        self.noise.copy_(send(-torch.log(exponential), self.noise.device), non_blocking=True)

    @property
    def weight(self) -> Tensor:
        """Weights, shape ``(n, C)``, each row sums to 1; with gradients to the logits."""
        if self.hard:
            chosen = torch.as_tensor(self.assignment(), device=self.logits.device)
            return functional.one_hot(chosen, self.logits.shape[1]).to(self.logits.dtype)
        values = self.logits + self.noise if self.training else self.logits
        return torch.softmax(values / self.temperature, dim=1)

    def probabilities(self) -> Tensor:
        """Return how probable each band is as a row's hard draw, shape ``(n, C)``."""
        return torch.softmax(self.logits, dim=1)

    def duplicate_penalty(self) -> Tensor:
        """Return how far bands are wanted beyond once, per row: 0 to 1 - 1/n.

        Source: after Strypsteen & Bertrand 2021, "End-to-end learnable EEG channel selection for
            deep neural networks with Gumbel-softmax", with a threshold of 1.
        """
        wanted = self.probabilities().sum(dim=0)
        return functional.relu(wanted - 1).sum() / len(self.logits)

    def entropy(self) -> Tensor:
        """Return the mean entropy of the rows, 0 (decided) to 1 (even over all bands)."""
        logs = torch.log_softmax(self.logits, dim=1)
        nats = -(logs.exp() * logs).sum(dim=1).mean()
        return nats / max(math.log(self.logits.shape[1]), 1e-12)

    def assignment(self) -> NDArray[np.intp]:
        """Return a band per row, all distinct, whose joint probability is the highest, ``(n,)``.

        Source: Kuhn 1955, the assignment problem; as in ``scipy.optimize``.
        """
        from scipy.optimize import linear_sum_assignment

        logs = torch.log_softmax(self.logits.detach().cpu().double(), dim=1).numpy()
        _, bands = linear_sum_assignment(logs, maximize=True)
        return np.asarray(bands, np.intp)


class SelectedProjection(nn.Module):
    """Selectors and the stem behind them as one linear bias-free map over all C bands.

    Without a stem the backbone takes the n channels. Wavelengths and widths of the bands are
    those of :func:`wavelength_features`.
    """

    band_features: Tensor

    def __init__(
        self,
        selector: ConcreteSelector,
        stem: Projection | WavelengthProjection | None,
        wavelengths_nm: ArrayLike,
        fwhm_nm: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        self.selector, self.stem = selector, stem
        features = wavelength_features(wavelengths_nm, fwhm_nm)
        self.register_buffer("band_features", features, persistent=False)

    @property
    def num_bands(self) -> int:
        """C."""
        return self.selector.logits.shape[1]

    @property
    def weight(self) -> Tensor:
        """Weight of the whole map, shape ``(k, C)``, with gradients to the logits."""
        # Products of small numbers over hundreds of bands: never in half.
        with torch.autocast(self.selector.logits.device.type, enabled=False):
            selected = self.selector.weight
            if self.stem is None:
                return selected
            if isinstance(self.stem, WavelengthProjection):
                # Features are linear in the choice: one-hot rows give those of the chosen bands.
                return self.stem.generated(selected @ self.band_features) @ selected
            return self.stem.weight @ selected

    def forward(self, x: Tensor) -> Tensor:
        """Map bands to channels: ``(B, C, H, W)`` to ``(B, k, H, W)``."""
        return functional.conv2d(x, self.weight[:, :, None, None])
