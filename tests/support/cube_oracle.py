"""What the cube tests share: the fixture cube, and rasterio as the second implementation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from hyperspec.spectra import SpectralAxis

CODES = {
    "u1": 1, "i2": 2, "i4": 3, "f4": 4, "f8": 5, "u2": 12, "u4": 13, "i8": 14, "u8": 15
}  # fmt: skip


def fixture_cube(shape: tuple[int, int, int], dtype: str = "u2") -> NDArray[np.generic]:
    """Values that tell band, line and sample apart, whatever the type can hold."""
    band, row, col = np.indices(shape)
    values = 7 + 101 * band + 13 * row + 3 * col
    if dtype == "u1":
        values %= 251
    if dtype in ("u4", "i8", "u8"):
        values = values * 1_000_003  # beyond float32's whole numbers
    if dtype[0] in "if":
        values = values - 200
    if dtype[0] == "f":
        values = values / 7
    return values.astype(dtype)


def axis_of(bands: int) -> SpectralAxis:
    return SpectralAxis(400 + 1.1332 * np.arange(bands))


def oracle(
    path: Path,
    bands: Sequence[int] | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> NDArray[np.generic]:
    """Read with rasterio: 0-based bands, window as (row, col, height, width)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            part = None
            if window is not None:
                part = RasterWindow(window[1], window[0], window[3], window[2])
            return source.read(None if bands is None else [b + 1 for b in bands], window=part)


def header_text(**changes: object) -> str:
    """A header for (3, 2, 4) uint16; a change to None leaves the field out."""
    fields: dict[str, object] = {
        "samples": 4,
        "lines": 2,
        "bands": 3,
        "data type": 12,
        "interleave": "bil",
        "wavelength units": "nm",
        "wavelength": "{400, 500.5, 600}",
    }
    fields.update({key.replace("_", " "): value for key, value in changes.items()})
    return "ENVI\n" + "".join(f"{k} = {v}\n" for k, v in fields.items() if v is not None)


def write_pair(folder: Path, text: str | bytes, name: str = "x.bil", size: int = 48) -> Path:
    """Write a header and a data file of `size` counted bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name).with_suffix(".hdr").write_bytes(content)
    data = folder / name
    data.write_bytes((np.arange(size) % 251).astype(np.uint8).tobytes())
    return data
