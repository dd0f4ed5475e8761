"""Which bands, and how many, carry the signal: SimCLR sweeps over hyperspectral specimens."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hyperspec.utils.torchvision_shim import install as _install_torchvision_hook

if TYPE_CHECKING:
    from hyperspec.cubes.open import open_cube as open  # noqa: A004  # reads as hyperspec.open

__version__ = "0.1.0"
__all__ = [
    "bands",
    "cubes",
    "datasets",
    "evaluation",
    "losses",
    "models",
    "open",
    "spectra",
    "testing",
    "training",
    "transforms",
]

_install_torchvision_hook()


def __getattr__(name: str) -> object:
    """Import a room on first use, so that ``import hyperspec`` stays light."""
    if name == "open":
        return importlib.import_module("hyperspec.cubes.open").open_cube
    if name in __all__:
        return importlib.import_module(f"hyperspec.{name}")
    raise AttributeError(f"module 'hyperspec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
