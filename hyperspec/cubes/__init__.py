"""Cubes: headers, reading, writing, catalogue, preparation, the packed store.

Everything is imported on first use, so that ``import hyperspec.cubes`` loads neither rasterio nor
pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hyperspec.cubes.cube import Cube
    from hyperspec.cubes.envi.header import EnviHeader, read_header
    from hyperspec.cubes.envi.writer import write_envi
    from hyperspec.cubes.open import open_cube
    from hyperspec.cubes.window import Window
    from hyperspec.datasets.catalogue.labels import CsvLabels, FolderLabels, NoLabels, PatternLabels
    from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord, Problem
    from hyperspec.datasets.catalogue.scan import scan
    from hyperspec.datasets.preparation.prepare import Prepared, PrepareSettings
    from hyperspec.datasets.store.packed import Store

# Where each public name lives. The functions `pack` and `prepare` are not among them: they share
# their names with their modules, and an import of the module would hide the function.
_HOMES = {
    "Catalogue": "records",
    "CsvLabels": "labels",
    "CubeRecord": "records",
    "FolderLabels": "labels",
    "NoLabels": "labels",
    "PatternLabels": "labels",
    "PrepareSettings": "prepare",
    "Prepared": "prepare",
    "Problem": "records",
    "Store": "store",
    "scan": "catalogue",
    "Cube": "handle",
    "EnviHeader": "header",
    "Window": "window",
    "open_cube": "cube",
    "read_header": "header",
    "write_envi": "writer",
}

__all__ = [
    "Catalogue",
    "CsvLabels",
    "Cube",
    "CubeRecord",
    "EnviHeader",
    "FolderLabels",
    "NoLabels",
    "PatternLabels",
    "PrepareSettings",
    "Prepared",
    "Problem",
    "Store",
    "Window",
    "open_cube",
    "read_header",
    "scan",
    "write_envi",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hyperspec.cubes' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hyperspec.cubes.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
