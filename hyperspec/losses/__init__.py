"""Losses over two views' embeddings, and exact large batches in small memory.

The config dataclasses import without torch; everything else is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hyperspec.losses.config import LossConfig, NtXentConfig

if TYPE_CHECKING:
    from hyperspec.losses.cached import check_batch_independent, micro_batched
    from hyperspec.losses.contrastive import NtXent

__all__ = ["LossConfig", "NtXent", "NtXentConfig", "check_batch_independent", "micro_batched"]

_HOMES = {
    "NtXent": "contrastive",
    "check_batch_independent": "cached",
    "micro_batched": "cached",
}


def __getattr__(name: str) -> object:
    """Import what needs torch on first use."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"hyperspec.losses.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hyperspec.losses' has no attribute {name!r}")
