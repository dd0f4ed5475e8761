"""What a notebook shows of an open cube: a small picture and a mean spectrum."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from html import escape
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.colour import band_picture, nearest_bands
from hyperspec.spectra.drawing import spectrum_svg
from hyperspec.utils.errors import HyperspecError

_SIDE = 240  # pixels of the picture's longer side
_SHOWN = 120  # height on the page, whatever the cube's
_LINES = 32  # lines that the spectrum is the mean of, so that a large cube is shown at once

ReadLine = Callable[[int, list[int] | None], NDArray[np.float32]]
"""Reads one line of some bands, or of all: ``(n, W)``."""


def cube_html(
    text: str, axis: SpectralAxis, shape: tuple[int, int, int], read_line: ReadLine
) -> str:
    """Return a cube's picture and mean spectrum beside its description, as HTML.

    Args:
        text: The description.
        axis: Of the cube.
        shape: Bands, lines and samples.
        read_line: Reads one line. Where it cannot, the description is all that is shown.
    """
    _, lines, samples = shape
    step = max(1, -(-max(lines, samples) // _SIDE))
    bands = nearest_bands(axis)
    rows = np.unique(np.linspace(0, lines - 1, min(lines, _LINES)).astype(int)).tolist()
    try:
        planes = np.stack([read_line(row, bands)[:, ::step] for row in range(0, lines, step)], 1)
        sums, counts = np.zeros(len(axis)), np.zeros(len(axis))
        for row in rows:
            values = read_line(row, None)
            sums += np.nansum(values, axis=1, dtype=np.float64)
            counts += np.isfinite(values).sum(axis=1)
    except HyperspecError as error:
        return f"<p>{escape(text)}: {escape(str(error))}</p>"
    mean = np.divide(sums, counts, out=np.full(len(axis), np.nan), where=counts > 0)
    mean[~axis.good] = np.nan
    at = ", ".join(f"{nm:.0f}" for nm in axis.wavelengths_nm[bands])
    of = "" if len(rows) == lines else f" of {len(rows)} lines"
    picture = (
        f'<img alt="the cube at {at} nm" title="{at} nm as red, green and blue" height="{_SHOWN}" '
        f'style="image-rendering: pixelated" src="data:image/png;base64,{_png(planes)}"/>'
    )
    drawn = spectrum_svg(axis, mean, title=f"mean spectrum{of}")
    return f"<div><p>{escape(text)}</p>{picture}{drawn}</div>"


def _png(planes: NDArray[np.float32]) -> str:
    from matplotlib.image import imsave

    file = BytesIO()
    imsave(file, band_picture(planes), format="png")
    return b64encode(file.getvalue()).decode()
