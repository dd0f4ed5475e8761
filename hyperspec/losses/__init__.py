"""Losses over two views' embeddings, and exact large batches in small memory.

The config dataclasses import without torch; everything else is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hyperspec.losses.config import DclConfig, LossConfig, NtXentConfig, VicRegConfig

if TYPE_CHECKING:
    from hyperspec.losses.cached import check_batch_independent, micro_batched
    from hyperspec.losses.contrastive import Dcl, NtXent
    from hyperspec.losses.vicreg import VicReg

__all__ = [
    "Dcl",
    "DclConfig",
    "LossConfig",
    "NtXent",
    "NtXentConfig",
    "VicReg",
    "VicRegConfig",
    "check_batch_independent",
    "micro_batched",
]

_HOMES = {
    "Dcl": "contrastive",
    "NtXent": "contrastive",
    "VicReg": "vicreg",
    "check_batch_independent": "cached",
    "micro_batched": "cached",
}


def __getattr__(name: str) -> object:
    """Import what needs torch on first use."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"hyperspec.losses.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hyperspec.losses' has no attribute {name!r}")
