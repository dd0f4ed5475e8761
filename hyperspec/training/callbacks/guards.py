"""What notices, while a run trains, that it does not do what it is meant to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.tracking.contract import MetricName, Tag
from hyperspec.training.callbacks.checkpointing import random_states, restore_random_states
from hyperspec.training.simclr import SimCLR

log = logging.getLogger(__name__)

COLLAPSED_RANK = 1.5  # of 128 directions; healthy runs use tens
COLLAPSED_SPREAD = 1e-3  # of the features, relative to their size
PATIENCE = 3  # checks in a row
MOST_ROWS = 512  # singular values of more cost more than they tell
TOLERANCE = 1e-3  # relative; float32 rounds to about 1e-6


class NoticeCollapse(pl.Callback):
    """Logs the effective rank of the batch's embeddings, and says when all become alike.

    A run whose embeddings keep to one direction has collapsed: its loss stays at that of equal
    embeddings, and more epochs do not mend it. The features' spread is looked at too, since the
    head's BatchNorm would blow the rounding noise of equal features up to embeddings of full
    rank. It checks every so many steps, at least 1; ``tag`` takes tags of the run.
    """

    def __init__(self, every_n_steps: int, tag: Callable[[Mapping[str, str]], None]) -> None:
        self.every_n_steps, self.tag = every_n_steps, tag
        self._low = 0
        self._said = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Log ``train/effective_rank`` and ``train/feature_spread``; warn after several low."""
        assert isinstance(pl_module, SimCLR), "watches the training of SimCLR"
        if batch_idx % self.every_n_steps or pl_module.seen is None:
            return
        features, embeddings = pl_module.seen
        rank = float(effective_rank(embeddings[:MOST_ROWS]))
        spread = float(relative_spread(features))
        pl_module.log_dict({MetricName.EFFECTIVE_RANK: rank, MetricName.FEATURE_SPREAD: spread})
        self._low = self._low + 1 if rank < COLLAPSED_RANK or spread < COLLAPSED_SPREAD else 0
        if self._low < PATIENCE or self._said:
            return
        self._said = True
        if trainer.is_global_zero:
            self.tag({Tag.COLLAPSE: f"step {trainer.global_step}: effective rank {rank:.2f}"})
        log.warning(
            "The embeddings have collapsed: at step %d (epoch %d) and %d checks before, their "
            "effective rank is %.2f and the features' relative spread %.2g, so that all specimens "
            "look alike. Lower lr, raise batch_size or loss.temperature, or take loss=vicreg.",
            trainer.global_step,
            trainer.current_epoch,
            PATIENCE - 1,
            rank,
            spread,
        )


def effective_rank(embeddings: Tensor) -> Tensor:
    """Return the exponential of the entropy of the shares of the singular values, at least 1.

    Args:
        embeddings: Shape ``(N, D)``, taken as they are, neither centred nor normalised.

    Source: Garrido et al. 2023, "RankMe", eq. 1-2, after Roy & Vetterli 2007.
    """
    singular = torch.linalg.svdvals(embeddings.float())
    share = singular / singular.sum().clamp(min=torch.finfo(singular.dtype).tiny)
    entropy: Tensor = -torch.special.xlogy(share, share).sum()
    return entropy.exp()


def relative_spread(features: Tensor) -> Tensor:
    """Return the root mean square distance from the mean over that from zero, 0 to 1.

    Features are ``(N, F)``.
    """
    values = features.float()
    size = values.square().sum(1).mean().clamp(min=torch.finfo(values.dtype).tiny)
    return ((values - values.mean(0)).square().sum(1).mean() / size).sqrt()


class CheckCachedGradient(pl.Callback):
    """Measures once, on the run's first batch, how far micro-batches change the gradient.

    The reference is one graph over the whole batch, with the same random numbers: it needs the
    memory that micro-batches save. The run itself goes on as if nothing had been measured.
    Logs ``train/cached_gradient_error``.
    """

    def __init__(self) -> None:
        self._done = False

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Measure on the first batch that this process sees."""
        assert isinstance(pl_module, SimCLR), "watches the training of SimCLR"
        if self._done:
            return
        self._done = True
        with ExitStack() as stack:
            # The trainer's own precision, as in its step.
            stack.enter_context(trainer.precision_plugin.train_step_context())
            error = cached_gradient_error(pl_module, batch)
        for logger in trainer.loggers:
            logger.log_metrics({MetricName.CACHED_ERROR: error}, trainer.global_step)
        shown = log.warning if error > TOLERANCE else log.info
        shown(
            "hardware.check_micro_batch: the gradient in micro-batches of %s differs from that of "
            "the whole batch by %.2g (relative)%s",
            pl_module.micro_batch,
            error,
            ", far above rounding: set hardware.micro_batch=null" if error > TOLERANCE else "",
        )


def cached_gradient_error(module: SimCLR, batch: Batch) -> float:
    """Return the relative error of the cached gradient against one graph over the whole batch.

    Both draw the same views: chunk by chunk, as micro-batches do. Random states, running
    statistics and the loss's queue are left as they were. The batch holds two specimens or
    more.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    positions = torch.arange(len(batch.rows))
    chunks = torch.split(positions, module.micro_batch or len(positions))

    def in_one_graph() -> tuple[Tensor, ...]:
        with module.in_turn(len(positions)):
            parts = [module.embed_views(batch, chunk) for chunk in chunks]
        return tuple(torch.cat(same) for same in zip(*parts, strict=True))

    def in_micro_batches() -> tuple[Tensor, ...]:
        return module.embed_batch(batch)

    gradients = []
    for embed in (in_one_graph, in_micro_batches):
        states = random_states()
        # Running statistics of the head, the queue of the loss.
        held = {name: value.clone() for name, value in module.state_dict().items()}
        loss, _ = module.compare(*embed(), labels=module.labels_of(batch))  # type: ignore[misc]  # three tensors at most
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        gradients.append(torch.cat([g.flatten().cpu() for g in found if g is not None]).double())
        module.load_state_dict(held)
        restore_random_states(states)
    whole, cached = gradients
    return float((cached - whole).norm() / whole.norm().clamp(min=1e-300))
