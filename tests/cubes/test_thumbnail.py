"""What a notebook shows of a cube."""

from __future__ import annotations

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from hyperspec.cubes.envi.raw import write_envi
from hyperspec.cubes.open import Cube, open_cube
from hyperspec.spectra.axis import SpectralAxis


@pytest.fixture
def cube(tmp_path: Path) -> Cube:
    """A cube of three bands: the left half is red, the right half blue; one pixel is missing."""
    values = np.full((3, 40, 500), 0.1, np.float32)
    values[0, :, :250] = values[2, :, 250:] = 0.8  # 650 and 450 nm
    values[:, 0, 0] = np.nan
    axis = SpectralAxis(np.array([650.0, 550.0, 450.0]))
    write_envi(tmp_path / "a.bil", values, axis)
    return open_cube(tmp_path / "a.bil")


def test_picture_and_spectrum_are_those_of_the_cube(cube: Cube) -> None:
    with cube:
        shown = cube._repr_html_()
    encoded = re.search(r"base64,([^\"]+)", shown)
    assert encoded is not None
    picture = imread(BytesIO(b64decode(encoded[1])), format="png")[..., :3]
    assert picture.shape == (14, 167, 3)  # every third line and sample
    red, blue = picture[5, 10], picture[5, -10]
    assert red[0] > 0.9 > 0.5 > red[2]
    assert blue[2] > 0.9 > 0.5 > blue[0]
    svg = re.search(r"<svg.*</svg>", shown)
    assert svg is not None
    ElementTree.fromstring(svg[0])
    assert "0.45</text>" in svg[0]  # the largest mean: half 0.8, half 0.1


def test_of_a_closed_cube_the_text_is_shown(cube: Cube) -> None:
    cube.close()
    assert "a.bil" in cube._repr_html_()
    assert "<img" not in cube._repr_html_()
