"""Encoders: stems that take n bands, backbones, projection heads.

The config dataclasses import without torch; everything else is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hyperspec.models.config import (
    OPTIONS,
    ConvNextConfig,
    EncoderConfig,
    HeadConfig,
    ResNetConfig,
    TinyConfig,
    VitConfig,
    register,
)

if TYPE_CHECKING:
    from hyperspec.models.backbones.backbone import Backbone
    from hyperspec.models.encoder import Encoder, build_encoder
    from hyperspec.models.heads import CellHead, ProjectionHead, build_head

__all__ = [
    "OPTIONS",
    "Backbone",
    "CellHead",
    "ConvNextConfig",
    "Encoder",
    "EncoderConfig",
    "HeadConfig",
    "ProjectionHead",
    "ResNetConfig",
    "TinyConfig",
    "VitConfig",
    "build_encoder",
    "build_head",
    "register",
]


def __getattr__(name: str) -> object:
    """Import what needs torch on first use."""
    if name in __all__:
        for home in ("encoder", "heads"):
            module = importlib.import_module(f"hyperspec.models.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'hyperspec.models' has no attribute {name!r}")
