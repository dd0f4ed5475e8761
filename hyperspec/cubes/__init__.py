"""Cubes: files listed, values read and written without a copy in memory, frames and masks found.

Only a reader that needs rasterio imports it.
"""

from hyperspec.cubes.cube import Cube, Window
from hyperspec.cubes.envi.header import EnviHeader
from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.files import read_header
from hyperspec.cubes.open import open_cube

__all__ = ["Cube", "EnviHeader", "Window", "open_cube", "read_header", "write_envi"]
