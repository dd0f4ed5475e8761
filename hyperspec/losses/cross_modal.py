"""Contrast between what different windows of wavelengths show of one specimen."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn


class CrossTerms(NamedTuple):
    """A loss and what it is made of, all scalars."""

    total: Tensor
    """Cross term plus weighted intra-modal term."""
    cross: Tensor
    """Mean over pairs of windows of their four-term loss."""
    intra: Tensor
    """Mean over windows of the loss between a window's two views."""


class CrossModalLoss(nn.Module):
    """Four-term loss between windows, and an intra-modal term.

    With ``L`` the base loss of two sets of embeddings, ``a0, a1`` the two views of window a and
    ``b0, b1`` those of window b::

        cross(a, b) = 1/4 [ L(a0, b0) + L(a0, b1) + L(a1, b0) + L(a1, b1) ]
        loss = mean over pairs {a, b} of cross(a, b) + intra_weight * mean over a of L(a0, a1)

    All pairs of windows are compared (the full graph of contrastive multiview coding). A fused
    embedding, where there is one, takes part in the intra-modal term as one more window.

    Args:
        base: ``L``, for example :class:`hyperspec.losses.NtXent` without a queue.
        intra_weight: At least 0.

    Source: Tian, Krishnan, Isola 2020, "Contrastive Multiview Coding", eq. 5 and section 3.3 (full
    graph); Afham et al. 2022, "CrossPoint", eq. 5, for adding the intra-modal term.
    """

    def __init__(self, base: nn.Module, intra_weight: float = 1.0) -> None:
        super().__init__()
        self.base, self.intra_weight = base, intra_weight

    def forward(
        self, z0: Tensor, z1: Tensor, num_windows: int, labels: Tensor | None = None
    ) -> CrossTerms:
        """Return the loss and its terms.

        Args:
            z0: Embeddings of the first view of each window, and of the fused features last if there
                are any, shape ``(B, M, D)``.
            z1: Of the second view, ``(B, M, D)``.
            num_windows: W, at least 2; M is W or W + 1.
            labels: Code of each image's label, ``(B,)``, for a base loss that takes them.
        """
        given = () if labels is None else (labels,)
        cross = [
            self.base(one[:, a], other[:, b], *given)
            for a, b in combinations(range(num_windows), 2)
            for one in (z0, z1)
            for other in (z0, z1)
        ]
        intra = [self.base(z0[:, m], z1[:, m], *given) for m in range(z0.shape[1])]
        crossed, inner = torch.stack(cross).mean(), torch.stack(intra).mean()
        return CrossTerms(crossed + self.intra_weight * inner, crossed, inner)

    def extra_repr(self) -> str:
        """Return the weight, for printing."""
        return f"intra_weight={self.intra_weight:g}"
