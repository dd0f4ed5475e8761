"""Encoders: stems that take n bands, backbones, projection heads.

The config dataclasses import without torch; everything else is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hyperspec.models.config import (
    ConvNextConfig,
    EncoderConfig,
    HeadConfig,
    ResNetConfig,
    TinyConfig,
    VitConfig,
)
from hyperspec.models.registry import OPTIONS, register

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

_HOMES = {
    "Backbone": "backbones.backbone",
    "CellHead": "heads",
    "Encoder": "encoder",
    "ProjectionHead": "heads",
    "build_encoder": "encoder",
    "build_head": "heads",
}


def __getattr__(name: str) -> object:
    """Import what needs torch on first use."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"hyperspec.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hyperspec.models' has no attribute {name!r}")
