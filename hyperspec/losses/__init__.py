"""Losses over two views' embeddings, and exact large batches in small memory.

The config dataclasses import without torch; everything else is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hyperspec.losses.config import (
    CombinedConfig,
    DclConfig,
    LossConfig,
    NtXentConfig,
    VicRegConfig,
)
from hyperspec.losses.registry import OPTIONS, register

if TYPE_CHECKING:
    from hyperspec.losses.cell_matching import CellPairs, pair_cells
    from hyperspec.losses.dense import Cells, Combined, LocalNtXent
    from hyperspec.losses.grad_cache import check_batch_independent, micro_batched
    from hyperspec.losses.nt_xent import Dcl, NtXent
    from hyperspec.losses.vicreg import VicReg

__all__ = [
    "OPTIONS",
    "CellPairs",
    "Cells",
    "Combined",
    "CombinedConfig",
    "Dcl",
    "DclConfig",
    "LocalNtXent",
    "LossConfig",
    "NtXent",
    "NtXentConfig",
    "VicReg",
    "VicRegConfig",
    "check_batch_independent",
    "micro_batched",
    "pair_cells",
    "register",
]

_HOMES = {
    "CellPairs": "cell_matching",
    "Cells": "dense",
    "Combined": "dense",
    "Dcl": "nt_xent",
    "LocalNtXent": "dense",
    "NtXent": "nt_xent",
    "VicReg": "vicreg",
    "check_batch_independent": "grad_cache",
    "micro_batched": "grad_cache",
    "pair_cells": "cell_matching",
}


def __getattr__(name: str) -> object:
    """Import what needs torch on first use."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"hyperspec.losses.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hyperspec.losses' has no attribute {name!r}")
