"""What has a known answer: synthetic specimens, and checks of what plug-ins promise.

The checks are for a plug-in's own tests as for ours; each raises AssertionError with the promise
that is broken.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperspec.testing.bands import check_strategy
    from hyperspec.testing.evaluators import check_evaluator
    from hyperspec.testing.losses import check_loss
    from hyperspec.testing.models import check_encoder, check_stem

__all__ = ["check_encoder", "check_evaluator", "check_loss", "check_stem", "check_strategy"]

_HOMES = {
    "check_encoder": "models",
    "check_evaluator": "evaluators",
    "check_loss": "losses",
    "check_stem": "models",
    "check_strategy": "bands",
}


def __getattr__(name: str) -> object:
    """Import a check on first use: strategies need no torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"hyperspec.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hyperspec.testing' has no attribute {name!r}")
