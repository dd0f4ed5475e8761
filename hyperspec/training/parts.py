"""What a SimCLR run is made of, put together for what does not train: without Lightning.

Importing Lightning, with the torchmetrics and the compiler of torch that it brings, takes as long
as torch itself; evaluating and embedding need none of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from hyperspec.datasets.loading.plane_cache import PlaneBank
from hyperspec.models.encoder import Encoder
from hyperspec.models.heads import CellHead
from hyperspec.models.stems.concrete import FixedProjection
from hyperspec.training.embedder import Embedder
from hyperspec.transforms.augment import Views
from hyperspec.transforms.normalisation.pixelwise import Normalisation


@dataclass(frozen=True)
class Parts:
    """What a SimCLR run is made of; each part is usable alone.

    Args:
        encoder: Takes n channels.
        head: Takes the encoder's features.
        loss: Takes the head's embeddings of two views.
        views: Work on the C bands that are read.
        normalisation: Of the n channels.
        reduction: Maps the bands to the channels; None where they are the same.
        cell_head: Embeds the cells of the feature map for a loss with a local term.
        labels: Code of each row's label for a loss that takes them, int64 ``(N,)``: those of the
            training part alone, -1 for every other row; None for a loss that takes none.
    """

    encoder: Encoder
    head: nn.Module
    loss: nn.Module
    views: Views
    normalisation: Normalisation
    reduction: FixedProjection | None = None
    cell_head: CellHead | None = None
    labels: Tensor | None = None


class HasParts:
    """The parts of a module under the names that checkpoints have for them, and its pixels."""

    def hold(self, parts: Parts, bank: PlaneBank) -> None:
        """Take the parts; after the module's own start."""
        self.encoder, self.head, self.loss = parts.encoder, parts.head, parts.loss
        self.views, self.normalisation = parts.views, parts.normalisation
        self.reduction, self.cell_head = parts.reduction, parts.cell_head
        self.labels, self.bank = parts.labels, bank

    @property
    def embedder(self) -> Embedder:
        """What embeds without augmentation, with this module's parts as they are now."""
        # Views that read pixels go over float32 in training, and so do the features.
        direct = self.views.commutes and not self.views.reads_pixels
        return Embedder(self.encoder, self.normalisation, self.bank, self.reduction, direct)


class Assembled(HasParts, nn.Module):
    """The parts of a run that was trained.

    Args:
        parts: Of its config.
        bank: Gives the pixels of a batch.
    """

    def __init__(self, parts: Parts, bank: PlaneBank) -> None:
        super().__init__()
        self.hold(parts, bank)
