"""Cubes: headers, reading, writing, catalogue, preparation, the packed store.

Everything is imported on first use, so that ``import hyperspec.cubes`` loads neither rasterio nor
pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperspec.cubes.cube import open_cube
    from hyperspec.cubes.handle import Cube
    from hyperspec.cubes.header import EnviHeader, read_header
    from hyperspec.cubes.window import Window
    from hyperspec.cubes.writer import write_envi

# Where each public name lives.
_HOMES = {
    "Cube": "handle",
    "EnviHeader": "header",
    "Window": "window",
    "open_cube": "cube",
    "read_header": "header",
    "write_envi": "writer",
}

__all__ = [
    "Cube",
    "EnviHeader",
    "Window",
    "open_cube",
    "read_header",
    "write_envi",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hyperspec.cubes' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hyperspec.cubes.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
