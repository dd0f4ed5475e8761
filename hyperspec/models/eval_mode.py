"""Evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(*parts: object) -> Iterator[None]:
    """Put modules in evaluation mode inside, and each of their parts back as it was after.

    Args:
        parts: What is no module, such as a plain function, stays as it is.
    """
    modules = [inside for part in parts if isinstance(part, nn.Module) for inside in part.modules()]
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
