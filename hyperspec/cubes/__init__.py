"""Cubes: headers and files read and written, without a copy in memory.

Everything is imported on first use, so that ``import hyperspec.cubes`` loads no rasterio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperspec.cubes.cube import Cube, Window
    from hyperspec.cubes.envi.header import EnviHeader, read_header
    from hyperspec.cubes.envi.writer import write_envi
    from hyperspec.cubes.open import open_cube

_HOMES = {
    "Cube": "cube",
    "EnviHeader": "envi.header",
    "Window": "window",
    "open_cube": "open",
    "read_header": "envi.header",
    "write_envi": "envi.writer",
}

__all__ = ["Cube", "EnviHeader", "Window", "open_cube", "read_header", "write_envi"]


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hyperspec.cubes' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hyperspec.cubes.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
