"""NT-Xent, the loss of SimCLR."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperspec.losses.config import check_temperature
from hyperspec.losses.gather import gather, world
from hyperspec.spectra.errors import ConfigError


class NtXent(nn.Module):
    """Normalised temperature-scaled cross entropy over two views.

    With the embeddings of both views as ``z_1 ... z_2B``, ``s_ij`` their cosine similarity, τ the
    temperature and ``p(i)`` the other view of ``i``::

        loss = mean_i [ log sum_{j != i} exp(s_ij / τ) - s_ip(i) / τ ]

    Under a process group the sum runs over all processes' embeddings, with gradients to each; the
    mean runs over the process's own. Computed in float32 or wider whatever the precision of the
    run: similarities in half precision, divided by τ = 0.05, would be off by 0.01 and more.

    Args:
        temperature: τ, above 0.

    Raises:
        ConfigError: If the temperature is not above 0.

    Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual
    Representations", eq. 1 and algorithm 1.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        """Return the loss.

        Args:
            z0: Embeddings of the first view, shape ``(B, D)``; row ``i`` pairs with row ``i`` of
                ``z1``. Need not be normalised.
            z1: Embeddings of the second view, shape ``(B, D)``.

        Returns:
            Scalar, float32 or wider.

        Raises:
            ConfigError: If the batch over all processes holds one specimen.
        """
        check_pair(z0, z1, "NT-Xent")
        with torch.autocast(z0.device.type, enabled=False):
            own = functional.normalize(at_least_float32(torch.stack([z0, z1])), dim=2)
            every = gather(own)  # (processes, 2, B, D)
            own, rank, batch = own.flatten(0, 1), world()[0], len(z0)
            logits = own @ every.flatten(0, 2).T / self.temperature  # (2B, processes * 2B)
            rows = torch.arange(2 * batch, device=logits.device)
            offset = rank * 2 * batch
            positives = logits[rows, offset + (rows + batch) % (2 * batch)]
            itself = torch.zeros_like(logits, dtype=torch.bool)
            itself[rows, offset + rows] = True
            others = logits.masked_fill(itself, -torch.inf)
            return (others.logsumexp(dim=1) - positives).mean()

    def extra_repr(self) -> str:
        """Return the temperature, for printing."""
        return f"temperature={self.temperature:g}"


def check_pair(z0: Tensor, z1: Tensor, loss: str) -> None:
    """Check that two views' embeddings can be contrasted.

    Raises:
        ValueError: If the shapes are not the same ``(B, D)``.
        ConfigError: If the batch over all processes holds fewer than two specimens.
    """
    if z0.ndim != 2 or z0.shape != z1.shape:
        raise ValueError(
            f"{loss} takes two tensors of one shape (B, D), not {tuple(z0.shape)} and "
            f"{tuple(z1.shape)}."
        )
    if len(z0) * world()[1] < 2:
        raise ConfigError(
            f"{loss} got a batch of {len(z0)}: a batch of one has no negatives, so its loss and "
            "gradient are zero. Set batch_size to at least 2; to save memory instead, keep "
            "batch_size and set hardware.micro_batch=1."
        )


def at_least_float32(x: Tensor) -> Tensor:
    """Return half precision as float32, anything wider as it is."""
    return x.float() if x.dtype.itemsize < 4 else x
