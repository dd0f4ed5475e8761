"""Contrastive losses: each embedding finds its own other view among the batch's."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperspec.losses.checks import check_queue_size, check_temperature
from hyperspec.utils.distributed import gather, world
from hyperspec.utils.errors import ConfigError


class Contrast(NamedTuple):
    """What contrastive losses compare; rows are the process's own embeddings, both views."""

    own: Tensor
    """Unit vectors of this process, shape ``(2B, D)``, first view in front."""
    every: Tensor
    """Unit vectors of all processes, shape ``(M, D)``, M = 2B times the processes, first views
    in front."""
    logits: Tensor
    """Cosine similarities over τ of own and every, shape ``(2B, M)``."""
    itself: Tensor
    """Column of each row's own embedding, int64 ``(2B,)``."""
    partner: Tensor
    """Column of the other view of each row's specimen, int64 ``(2B,)``."""

    def positives(self) -> Tensor:
        """Return each row's similarity with its other view over τ, shape ``(2B,)``."""
        return self.logits.gather(1, self.partner[:, None])[:, 0]

    def without(self, *columns: Tensor) -> Tensor:
        """Return the logits with one column per row, or several, taken out of any sum."""
        dropped = torch.stack(columns, dim=1)
        return self.logits.scatter(1, dropped, -torch.inf)


def contrast(z0: Tensor, z1: Tensor, temperature: float) -> Contrast:
    """Compare every embedding ``(B, D)``, float32 or wider, with those of all processes.

    Row ``i`` of ``z0`` pairs with row ``i`` of ``z1``; ``temperature`` is τ, above 0.
    """
    rank, processes = world()
    stacked = functional.normalize(torch.stack([z0, z1]), dim=2)
    # (processes, 2, B, D) to first views of all processes, then second views: as in one process.
    every = gather(stacked).transpose(0, 1).flatten(0, 2)
    own, batch = stacked.flatten(0, 1), len(z0)
    rows = torch.arange(2 * batch, device=own.device)
    itself = rows // batch * (processes * batch) + rank * batch + rows % batch
    logits = own @ every.T / temperature
    return Contrast(own, every, logits, itself, (itself + processes * batch) % len(every))


class NtXent(nn.Module):
    """Normalised temperature-scaled cross entropy over two views.

    With the embeddings of both views as ``z_1 ... z_2B``, ``s_ij`` their cosine similarity, τ the
    temperature and ``p(i)`` the other view of ``i``::

        loss = mean_i [ log sum_{j != i} exp(s_ij / τ) - s_ip(i) / τ ]

    Under a process group the sum runs over all processes' embeddings, with gradients to each; the
    mean runs over the process's own. Computed in float32 or wider whatever the precision of the
    run: similarities in half precision, divided by τ = 0.05, would be off by 0.01 and more.

    With a queue the sum runs over the last ``queue_size`` embeddings of earlier training steps
    too, without gradients to them (the memory of He et al. 2020, without a momentum encoder). They
    come from an older encoder, and in a small data set from the same specimens: keep the queue
    below the number of specimens.

    Args:
        temperature: τ, above 0.
        queue_size: Embeddings remembered, both views counted; 0 remembers none.

    Raises:
        ConfigError: If the temperature is not above 0, or the queue's size below 0.

    Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual
    Representations", eq. 1 and algorithm 1.
    """

    def __init__(self, temperature: float = 0.1, queue_size: int = 0) -> None:
        super().__init__()
        check_temperature(temperature)
        check_queue_size(queue_size)
        self.temperature, self.queue_size = temperature, queue_size
        self.queue: Tensor | None = None  # (at most queue_size, D), oldest first

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        """Return the loss, a scalar in float32 or wider; in training fill the queue.

        Embeddings are ``(B, D)``, normalised or not; row ``i`` of ``z0`` pairs with row ``i``
        of ``z1``.

        Raises:
            ConfigError: If the batch over all processes holds one specimen.
        """
        check_pair(z0, z1, "NT-Xent")
        with torch.autocast(z0.device.type, enabled=False):
            compared = contrast(at_least_float32(z0), at_least_float32(z1), self.temperature)
            others = compared.without(compared.itself)
            if self.queue is not None:
                remembered = self.queue.to(compared.own)
                others = torch.cat([others, compared.own @ remembered.T / self.temperature], dim=1)
            if self.queue_size and self.training:
                self._remember(compared.every.detach())
            return (others.logsumexp(dim=1) - compared.positives()).mean()

    def _remember(self, embeddings: Tensor) -> None:
        kept = [embeddings] if self.queue is None else [self.queue.to(embeddings), embeddings]
        self.queue = torch.cat(kept)[-self.queue_size :]

    def get_extra_state(self) -> Tensor:
        """Return the queue, so that a checkpoint holds it; empty if there is none yet."""
        return torch.empty(0, 0) if self.queue is None else self.queue

    def set_extra_state(self, state: Tensor) -> None:
        """Take the queue of a checkpoint."""
        kept = state[max(len(state) - self.queue_size, 0) :]
        self.queue = kept.clone() if len(kept) else None

    def extra_repr(self) -> str:
        """Return the settings, for printing."""
        return f"temperature={self.temperature:g}, queue_size={self.queue_size}"


class Dcl(nn.Module):
    """Decoupled contrastive loss: NT-Xent without the positive pair in the denominator.

    In NT-Xent the gradient of a pair that is already close vanishes unless the batch is large;
    taking the positive out of the sum removes that coupling, which matters for small batches::

        loss = mean_i [ log sum_{j not in {i, p(i)}} exp(s_ij / τ) - s_ip(i) / τ ]

    Raises:
        ConfigError: If the temperature τ is not above 0.

    Source: Yeh et al. 2022, "Decoupled Contrastive Learning", section 3, unweighted.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        """Return the loss, a scalar in float32 or wider, of two views ``(B, D)``.

        Raises:
            ConfigError: If the batch over all processes holds one specimen.
        """
        check_pair(z0, z1, "DCL")
        with torch.autocast(z0.device.type, enabled=False):
            compared = contrast(at_least_float32(z0), at_least_float32(z1), self.temperature)
            negatives = compared.without(compared.itself, compared.partner)
            return (negatives.logsumexp(dim=1) - compared.positives()).mean()

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
            f"{loss} got a batch of {len(z0)}: a batch of one has nothing to be told apart from, "
            "so nothing is learned from it. Set batch_size to at least 2; to save memory instead, "
            "keep batch_size and set hardware.micro_batch=1."
        )


def at_least_float32(x: Tensor) -> Tensor:
    """Return half precision as float32, anything wider as it is."""
    return x.float() if x.dtype.itemsize < 4 else x
