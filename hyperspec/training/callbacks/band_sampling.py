"""Random nested subsets of bands per step, so that one encoder serves any set of them."""

from __future__ import annotations

import math

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.models.encoder import Encoder
from hyperspec.models.stems.wavelength import WavelengthProjection
from hyperspec.utils.errors import ConfigError

_STREAM = 0xBA2D  # keeps these draws apart from others of the same seed, epoch and step


class BandSampling(pl.Callback):
    """Gives every step its subset: the first so many of a random order of the bands.

    First a count is drawn, then the bands, as in hierarchical channel sampling; the subsets of one
    order are nested. There the count is uniform; here every octave is as likely, since of 408 bands
    a uniform count leaves fewer than 20 to one step in thirty. Both views and all micro-batches of
    a step see the same subset, which depends on seed, epoch and step alone, so that a continued
    training draws what an unbroken one would.

    Args:
        minimum: Fewest bands of a subset.
        seed: Seed of the run.

    Source: Bao, Sivanandan, Karaletsos 2024, "Channel Vision Transformers: An Image Is Worth
    1 x 16 x 16 Words", section 3.2.
    """

    def __init__(self, minimum: int, seed: int) -> None:
        self.minimum, self.seed = minimum, seed

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that there are as many bands.

        Raises:
            ConfigError: If there are fewer.
        """
        available = _stem(pl_module).num_bands
        if self.minimum > available:
            raise ConfigError(
                f"model.sampling_minimum is {self.minimum}, but the training is on {available} "
                "bands. Lower it, or choose more bands."
            )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Draw the step's bands."""
        stem = _stem(pl_module)
        stem.sample(self.draw(stem.num_bands, trainer.current_epoch, batch_idx))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take all bands again."""
        _stem(pl_module).sample(None)

    def draw(self, num_bands: int, epoch: int, batch_idx: int) -> NDArray[np.intp]:
        """Return a step's bands as places among those at hand."""
        rng = np.random.default_rng([self.seed, _STREAM, epoch, batch_idx])
        octaves = rng.uniform(math.log(self.minimum), math.log(num_bands + 1))
        count = min(int(math.exp(octaves)), num_bands)
        return rng.permutation(num_bands)[: max(count, self.minimum)]


def _stem(module: pl.LightningModule) -> WavelengthProjection:
    encoder = module.encoder
    assert isinstance(encoder, Encoder)
    stem = encoder.projection
    assert isinstance(stem, WavelengthProjection), "the config allows sampling for this stem only"
    return stem
