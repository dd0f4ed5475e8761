"""Contrastive training across windows of wavelengths (``views=cross_modal``)."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.losses.cross_modal import CrossModalLoss, CrossTerms
from hyperspec.models.cross_modal import WindowBackbone
from hyperspec.models.eval_mode import eval_mode
from hyperspec.training.embedder import MOST_AT_ONCE
from hyperspec.training.simclr import NUM_VIEWS, SimCLR
from hyperspec.utils.distributed import own, whole


class CrossModal(SimCLR):
    """Each window of wavelengths is a modality: its embedding finds those of the other windows.

    Both views are drawn and made as in :class:`SimCLR`, all windows of a view under the same warp
    and light; the encoder then looks at each window alone. Its parts are an encoder of
    ``build_window_encoder``, ``WindowHeads`` and a :class:`CrossModalLoss`.
    """

    @property
    def windows(self) -> WindowBackbone:
        """The backbone, which knows its windows."""
        backbone = self.encoder.backbone
        assert isinstance(backbone, WindowBackbone), "not from build_window_encoder"
        return backbone

    def embed_views(self, batch: Batch, chosen: Tensor) -> tuple[Tensor, ...]:
        """Augment and embed some items: features of each window, ``(m, 2, W, F)``."""
        maps, _ = self.maps_of(batch, chosen)
        features = self.windows.window_features(maps)
        return (torch.stack(features.chunk(NUM_VIEWS), dim=1),)

    def compare(
        self,
        features: Tensor,
        cells: Tensor | None = None,
        inverse: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a whole batch's features ``(B, 2, W, F)``, and its terms."""
        assert isinstance(self.loss, CrossModalLoss), "compares windows"
        both = whole(features).transpose(0, 1).flatten(0, 1)  # (2 B, W, F), of all processes
        fused = self.windows.fuse(both)
        if self.windows.score is not None:
            both = torch.cat([both, fused[:, None]], dim=1)
        embeddings: Tensor = self.head(both)
        self.seen = (fused.detach(), embeddings[:, 0].detach())
        first, second = (own(view) for view in embeddings.chunk(NUM_VIEWS))
        terms: CrossTerms = self.loss(first, second, self.windows.num_windows, labels)
        return terms.total, {
            f"{self.loss_name}_cross": terms.cross.detach(),
            f"{self.loss_name}_intra": terms.intra.detach(),
        }

    @torch.no_grad()
    def embed_windows(self, rows: Tensor, chunk: int = MOST_AT_ONCE) -> Tensor:
        """Embed each window of specimens of the bank, as the loss compares them.

        From row numbers ``(N,)`` in the source, as many images at once as memory allows and
        ``chunk`` at most, to ``(N, W, D)``, on the CPU, float32.
        """
        embedder, parts = self.embedder, []
        with eval_mode(self):
            for some in torch.split(rows, embedder.at_once(chunk)):
                pixels = embedder.prepare(*self.bank.batch(some))
                maps = self.encoder.feature_map(self.encoder.project(pixels))
                features = self.windows.window_features(maps)
                if self.windows.score is not None:  # the last head is that of the fused features
                    features = torch.cat([features, self.windows.fuse(features)[:, None]], dim=1)
                embedded: Tensor = self.head(features)
                parts.append(embedded[:, : self.windows.num_windows].float().cpu())
        return torch.cat(parts)
