"""The projection head between features and contrastive loss."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from hyperspec.models.config import HeadConfig


class ProjectionHead(nn.Module):
    """Linear-BN-ReLU-Linear-BN, then L2-normalised unless told otherwise.

    As in SimCLR's published code the linear layers have no bias (BatchNorm takes it away), and
    the last BatchNorm scales but does not shift. BatchNorm couples the samples of a batch: give
    both views of the whole contrastive batch in one call. From features ``(B, in_features)`` to
    ``(B, dim)``; losses on variances (VICReg) need the output raw (``unit=False``).

    Source: Chen et al. 2020, section 2.1 and ``projection_head`` in their ``model_util.py``.
    """

    def __init__(self, in_features: int, hidden: int, dim: int, *, unit: bool = True) -> None:
        super().__init__()
        self.unit = unit
        self.hidden_layer = nn.Linear(in_features, hidden, bias=False)
        self.hidden_norm = nn.BatchNorm1d(hidden)
        self.output_layer = nn.Linear(hidden, dim, bias=False)
        self.output_norm = nn.BatchNorm1d(dim)
        self.output_norm.register_parameter("bias", None)

    def forward(self, features: Tensor) -> Tensor:
        """Return embeddings: ``(B, F)`` to ``(B, D)``, float32 or wider."""
        hidden = functional.relu(self.hidden_norm(self.hidden_layer(features)))
        embedding = self.output_norm(self.output_layer(hidden))
        if embedding.dtype.itemsize < 4:
            embedding = embedding.float()  # half precision cannot hold a unit vector's small parts
        return functional.normalize(embedding, dim=1) if self.unit else embedding


class CellHead(nn.Module):
    """Two 1x1 convolutions with a ReLU between them: embeds each cell of a feature map alone.

    Without normalisation over the batch, so that it can run inside of micro-batches, which then
    carry D instead of F channels per cell. Not L2-normalised.

    Source: Wang et al. 2021, "Dense Contrastive Learning for Self-Supervised Visual
    Pre-Training", section 3.2 (dense projection head).
    """

    def __init__(self, in_features: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.hidden_layer = nn.Conv2d(in_features, hidden, 1)
        self.output_layer = nn.Conv2d(hidden, dim, 1)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Return embedded cells: ``(B, F, h, w)`` to ``(B, D, h, w)``."""
        embedded: Tensor = self.output_layer(functional.relu(self.hidden_layer(feature_map)))
        return embedded


def build_head(config: HeadConfig, num_features: int, *, unit: bool = True) -> ProjectionHead:
    """Build the head of a config for features of a given width.

    A loss's config tells by ``normalised`` whether the embeddings are L2-normalised.
    """
    hidden = num_features if config.hidden is None else config.hidden
    return ProjectionHead(num_features, hidden, config.dim, unit=unit)
