"""Supervised contrast: each embedding finds those of its label, and its own other view."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hyperspec.losses.checks import check_temperature
from hyperspec.losses.nt_xent import at_least_float32, check_pair, contrast
from hyperspec.utils.distributed import gather

UNLABELLED = -1


class SupCon(nn.Module):
    """Supervised contrastive loss over two views, labels where there are some.

    With the embeddings of both views as ``z_1 ... z_2B``, ``s_ij`` their cosine similarity, τ the
    temperature and ``P(i)`` all others that have the label of ``i``::

        loss = mean_i 1 / |P(i)| sum_{p in P(i)} [ log sum_{j != i} exp(s_ij / τ) - s_ip / τ ]

    The other view of ``i`` is always in ``P(i)``; of an image without a label it is the only one,
    which is the term of :class:`hyperspec.losses.NtXent`. Without any label the two are the same.

    Under a process group both sums run over all processes' embeddings, with gradients to each; the
    mean runs over the process's own. Computed in float32 or wider, as NT-Xent is.

    Args:
        temperature: τ, above 0.

    Raises:
        ConfigError: If the temperature is not above 0.

    Source: Khosla et al. 2020, "Supervised Contrastive Learning", eq. 2 (L_out).
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, z0: Tensor, z1: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar in float32 or wider.

        Args:
            z0: Embeddings of the first views, ``(B, D)``, normalised or not.
            z1: Of the second views of the same images, ``(B, D)``.
            labels: Code of each image's label, 0 and up, -1 without one, int64 ``(B,)``; None
                where no image has one.

        Raises:
            ConfigError: If the batch over all processes holds one specimen.
            ValueError: If the shapes do not fit.
        """
        check_pair(z0, z1, "SupCon")
        codes = labels if labels is not None else torch.full((len(z0),), UNLABELLED)
        if codes.shape != (len(z0),):
            raise ValueError(f"SupCon takes {len(z0)} labels, not {tuple(codes.shape)}.")
        codes = codes.to(z0.device)
        with torch.autocast(z0.device.type, enabled=False):
            compared = contrast(at_least_float32(z0), at_least_float32(z1), self.temperature)
            everywhere = gather(codes).flatten().repeat(2)  # first views of all, then second views
            mine = codes.repeat(2)[:, None]
            alike = (mine == everywhere[None]) & (mine != UNLABELLED)
            alike.scatter_(1, compared.partner[:, None], True)
            alike.scatter_(1, compared.itself[:, None], False)
            positives = torch.where(alike, compared.logits, 0.0).sum(1) / alike.sum(1)
            others = compared.without(compared.itself)
            return (others.logsumexp(dim=1) - positives).mean()

    def extra_repr(self) -> str:
        """Return the temperature, for printing."""
        return f"temperature={self.temperature:g}"
