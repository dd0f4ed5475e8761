"""Losses over two views' embeddings, and exact large batches in small memory.

The config dataclasses import without torch; everything else is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hyperspec.losses.config import (
    OPTIONS,
    CombinedConfig,
    DclConfig,
    LossConfig,
    NtXentConfig,
    SupConConfig,
    VicRegConfig,
    register,
)

if TYPE_CHECKING:
    from hyperspec.losses.dense import CellPairs, Cells, Combined, LocalNtXent, pair_cells
    from hyperspec.losses.grad_cache import check_batch_independent, micro_batched
    from hyperspec.losses.nt_xent import Dcl, NtXent
    from hyperspec.losses.supcon import SupCon
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
    "SupCon",
    "SupConConfig",
    "VicReg",
    "VicRegConfig",
    "check_batch_independent",
    "micro_batched",
    "pair_cells",
    "register",
]


def __getattr__(name: str) -> object:
    """Import what needs torch on first use."""
    if name in __all__:
        for home in ("dense", "grad_cache", "nt_xent", "supcon", "vicreg"):
            module = importlib.import_module(f"hyperspec.losses.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'hyperspec.losses' has no attribute {name!r}")
