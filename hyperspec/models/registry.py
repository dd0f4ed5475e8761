"""Every encoder option by name, the package's own and those that plug-ins add."""

from __future__ import annotations

from typing import TypeVar

from hyperspec.models.config import (
    ConvNextConfig,
    EncoderConfig,
    ResNetConfig,
    TinyConfig,
    VitConfig,
)
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.registry import add_option

_Kind = TypeVar("_Kind", bound=type[EncoderConfig])

OPTIONS: dict[str, type[EncoderConfig]] = {
    "tiny": TinyConfig,
    "resnet": ResNetConfig,
    "convnext": ConvNextConfig,
    "vit": VitConfig,
}
"""Every option of the config group ``model``; `resnet` stands for resnet18, 34 and 50."""
_OWN_NAMES = {name for kind in OPTIONS.values() for name in kind.names}


def register(kind: _Kind) -> _Kind:
    """Add an encoder, so that ``model=NAME`` chooses it; a class decorator.

    Args:
        kind: A dataclass below :class:`EncoderConfig` whose field ``name`` has a default, with
            :meth:`EncoderConfig.build_stages`. Its ``names`` is that name if it has none.

    Raises:
        ConfigError: If it is none, or its name is taken.
    """
    if getattr(kind, "name", "") in _OWN_NAMES:
        raise ConfigError(f"model={kind.name} is the package's own; give {kind} another name.")
    add_option(OPTIONS, "model", kind, EncoderConfig, "build_stages")
    if kind.name not in kind.names:
        kind.names = (kind.name,)
    return kind
