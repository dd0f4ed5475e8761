"""Every loss option by name, the package's own and those that plug-ins add."""

from __future__ import annotations

from typing import TypeVar

from hyperspec.losses.config import (
    CombinedConfig,
    DclConfig,
    LossConfig,
    NtXentConfig,
    VicRegConfig,
)
from hyperspec.utils.registry import add_option

_Kind = TypeVar("_Kind", bound=type[LossConfig])

OPTIONS: dict[str, type[LossConfig]] = {}
"""Every option of the config group ``loss``."""


def register(kind: _Kind) -> _Kind:
    """Add a loss, so that ``loss=NAME`` chooses it; a class decorator.

    Args:
        kind: A dataclass below :class:`LossConfig` with a ``name`` and :meth:`LossConfig.build`.

    Raises:
        ConfigError: If it is none, or its name is taken.
    """
    return add_option(OPTIONS, "loss", kind, LossConfig, "build")


for _own in (NtXentConfig, DclConfig, VicRegConfig, CombinedConfig):
    register(_own)
