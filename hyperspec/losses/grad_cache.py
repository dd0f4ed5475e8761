"""Exact large contrastive batches in the memory of a micro-batch.

Gradient accumulation adds no negatives. GradCache (Gao et al. 2021) does: embed all micro-batches
without a graph, compute the loss and its gradient at the features, then replay each micro-batch
with the same random state and back-propagate that gradient. Activation checkpointing over
micro-batches is the same computation with autograd doing the replay: the forward pass of each
keeps nothing but its row numbers; the backward pass, which starts when the loss over the *whole*
batch is known, recomputes one micro-batch, uses it up, and goes on to the next. Optimizer,
gradient scaling, clipping, logging and DDP see one ordinary backward pass.

Memory: the features of the whole batch, the graph of one micro-batch, its pixels, and one
gradient per parameter. Autograd runs later nodes first, so all of a micro-batch's nodes are done
before the one before it is recomputed; a test counts the pixels that live at once.

Time: one more forward pass, as with GradCache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from hyperspec.utils.errors import ConfigError

# What a micro-batch gives: features, or several things of the same items.
Embedded = TypeVar("Embedded", Tensor, tuple[Tensor, ...])


def micro_batched(
    embed: Callable[[Tensor], Embedded],
    num_items: int,
    micro_batch: int | None,
    generators: Sequence[torch.Generator] = (),
) -> Embedded:
    """Embed a batch micro-batch by micro-batch; gradients are those of the whole batch.

    Args:
        embed: Takes positions in the batch, int64 ``(m,)`` on the CPU, ascending; reads and
            augments those items and returns their features ``(m, ...)``, or a tuple of tensors of
            that length (with a local loss: features, feature maps, matrices). It runs twice per
            micro-batch when gradients are needed, with the same random numbers, provided that it
            draws them from torch's default generators or from ``generators``. It must treat items
            independently of each other (see :func:`check_batch_independent`).
        num_items: B, items in the batch, at least 1.
        micro_batch: Items embedded at once, at least 1; None embeds the whole batch in one call
            with an ordinary graph.
        generators: Generators of the caller's own that ``embed`` draws from.

    Returns:
        What ``embed`` returns for all items in order, each of shape ``(B, ...)``.

    Raises:
        ConfigError: If ``micro_batch`` is below 1.

    Source: Gao, Zhang, Han, Callan 2021, "Scaling Deep Contrastive Learning Batch Size under
    Memory Limited Setup", section 3.
    """
    if micro_batch is not None and micro_batch < 1:
        raise ConfigError(
            f"hardware.micro_batch={micro_batch} is out of range: use 1 or more, or null to embed "
            "the whole batch at once."
        )
    positions = torch.arange(num_items)
    if micro_batch is None:
        return embed(positions)
    chunks = torch.split(positions, micro_batch)
    return _joined([_replayable(embed, chunk, generators) for chunk in chunks])


def _joined(parts: list[Embedded]) -> Embedded:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(same) for same in zip(*parts, strict=True))


def _replayable(
    embed: Callable[[Tensor], Embedded], chunk: Tensor, generators: Sequence[torch.Generator]
) -> Embedded:
    """Embed a micro-batch, keeping only its positions and random state for the backward pass."""
    if not torch.is_grad_enabled():
        return embed(chunk)
    replayed = _every_generator(generators)
    states = [generator.get_state() for generator in replayed]

    @contextmanager
    def first() -> Iterator[None]:
        yield

    @contextmanager
    def again() -> Iterator[None]:
        now = [generator.get_state() for generator in replayed]
        _set_states(replayed, states)
        try:
            yield
        finally:  # recomputation ends early, by an exception, once it has what is needed
            _set_states(replayed, now)

    features: Embedded = checkpoint(
        embed,
        chunk,
        use_reentrant=False,
        # checkpoint's own replay looks for devices among the arguments, and positions lie on the
        # CPU: it would miss dropout and views drawn on the GPU.
        preserve_rng_state=False,
        context_fn=lambda: (first(), again()),
    )
    return features


def _every_generator(own: Sequence[torch.Generator]) -> list[torch.Generator]:
    """Return the default generators of CPU and current GPU, and the caller's own."""
    defaults = [torch.default_generator]
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        defaults.append(torch.cuda.default_generators[torch.cuda.current_device()])
    elif torch.backends.mps.is_available():
        defaults.append(torch.mps._get_default_mps_generator())
    return [*defaults, *own]


def _set_states(generators: Sequence[torch.Generator], states: Sequence[Tensor]) -> None:
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)


def check_batch_independent(module: nn.Module) -> None:
    """Refuse modules that mix the items of a batch, since micro-batches would change them.

    Args:
        module: What runs inside the micro-batches: encoder and stem, not the projection head.

    Raises:
        ConfigError: If a BatchNorm inside uses the statistics of its batch.
    """
    for name, child in module.named_modules():
        if isinstance(child, _BatchNorm) and (child.training or child.running_mean is None):
            raise ConfigError(
                f"hardware.micro_batch is set, but {name or 'the module'} is a "
                f"{type(child).__name__} in training mode: its mean and variance would come from "
                "each micro-batch instead of the whole batch, and the gradient would not be that "
                "of the whole batch. Set model.norm=group (or model.norm=frozen with pretrained "
                "weights), or hardware.micro_batch=null."
            )
