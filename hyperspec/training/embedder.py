"""Everything between the stored planes of a specimen and its features, as one frozen value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperspec.datasets.loading.packed_planes import project_stored
from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.models.encoder import Encoder
from hyperspec.models.eval_mode import eval_mode
from hyperspec.models.stems.concrete import FixedProjection, PhotonProjection
from hyperspec.transforms.normalisation.pixelwise import Normalisation
from hyperspec.utils.device_memory import free_bytes

MOST_AT_ONCE = 64  # images, where memory allows

# Of an image that is embedded lie in float32 at once: its bands three times (as read, normalised,
# and within the mask), and at the first layers of a ResNet-50 no more than so many channels.
_COPIES = 3
_CHANNELS = 128
_USED = 0.5  # share of what is free


@dataclass(frozen=True, eq=False)
class Embedder:
    """Embeds specimens without augmentation, in evaluation mode whatever the mode of its parts.

    The parts are shared with the module that trains them. What is to be measured with other bands,
    planes or weights gets an embedder of its own by :func:`dataclasses.replace`, so that nothing
    that is trained is ever changed in order to be measured.

    Args:
        encoder: Takes n channels.
        normalisation: Of the n channels.
        bank: Gives the pixels of the C bands.
        reduction: Maps the bands to the channels; None where they are the same.
        direct: Whether stored planes may be projected in their narrow type on a CPU. The module's
            views decide: features then go the way that they go in training, up to the last digit.
    """

    encoder: Encoder
    normalisation: Normalisation
    bank: PlaneBank
    reduction: FixedProjection | None = None
    direct: bool = True

    @property
    def device(self) -> torch.device:
        """Where the encoder lives."""
        return next(self.encoder.parameters()).device

    @property
    def linear(self) -> bool:
        """Whether reduction, normalisation and projection are one product over the bands."""
        if isinstance(self.reduction, PhotonProjection):
            return False  # its noise stands between the bands and what follows
        return self.encoder.projects and self.normalisation.per_band_affine is not None

    def linear_map(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return what :attr:`linear` speaks of, behind the reduction.

        Returns:
            Weight of the projection, ``(k, n)``, and scale and offset of the normalisation in front
            of it, each ``(n,)``.
        """
        affine, weight = self.normalisation.per_band_affine, self.encoder.weight_before_warp
        assert affine is not None, "only where `linear` says so"
        assert weight is not None, "only where `linear` says so"
        return weight, *affine

    def at_once(self, most: int = MOST_AT_ONCE) -> int:
        """Return how many images to embed together: as many as free memory allows, or ``most``.

        Where memory does not limit it the number is ``most``, whatever else the machine does: the
        last digits of features may depend on it.
        """
        wide = max(len(self.bank.bands), self.encoder.num_bands)
        each = 4 * self.bank.source.size**2 * (_COPIES * wide + _CHANNELS)
        return max(min(most, int(_USED * free_bytes(self.device) / each)), 1)

    def prepare(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return what the encoder takes: ``(B, n, H, W)``, normalised, 0 in the background.

        From reflectance ``(B, C, H, W)`` and the foreground ``(B, 1, H, W)``; None means
        everywhere.
        """
        if self.reduction is not None:
            images = self.reduction(images)
        pixels: Tensor = self.normalisation(images, masks)
        return pixels if masks is None else pixels * masks

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return backbone features ``(B, F)`` of what :meth:`prepare` takes."""
        with eval_mode(self.encoder, self.normalisation):
            features: Tensor = self.encoder(self.prepare(images, masks))
        return features

    @torch.no_grad()
    def embed(
        self,
        rows: Tensor,
        chunk: int = MOST_AT_ONCE,
        done: Callable[[int], None] = lambda count: None,
    ) -> Tensor:
        """Embed specimens of the bank, by row numbers ``(N,)`` in the source.

        As many at once as memory allows, ``chunk`` at most; ``done`` is told how many each time.

        Returns:
            Backbone features on the CPU, shape ``(N, F)``, float32.
        """
        direct = self.direct and self.linear and self.device.type == "cpu"
        with eval_mode(self.encoder, self.normalisation):
            parts = []
            for some in torch.split(rows, chunk if direct else self.at_once(chunk)):
                parts.append(self._from_stored(some) if direct else self(*self.bank.batch(some)))
                done(len(some))
        return torch.cat([part.float().cpu() for part in parts])

    def _from_stored(self, rows: Tensor) -> Tensor:
        """Return features from the planes' narrow type: no float32 batch of bands is made."""
        weight, scale, offset = self.linear_map()
        count = len(rows)
        stored, masks = self.bank.stored(rows), self.bank.masks(rows)
        with torch.autocast("cpu", enabled=False):
            matrix = weight * scale
            if self.reduction is not None:
                matrix = self.reduction.fold(weight, scale)
            constant = (weight @ offset).expand(count, -1)
            sizes = [matrix.shape[-2]]
            (pixels,) = project_stored(matrix.expand(count, -1, -1), constant, stored, sizes)
        return self.encoder.features(pixels.view(count, -1, *masks.shape[2:]) * masks)
