"""Thumbnails as few large pictures inside the page, as many and as large as it has room for."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.inference.thumbnails import Bytes, Thumbnails

BUDGET = 14_000_000  # bytes of a page, below the 15 MB that mail and MLflow's viewer take well

# Pixels of a picture and number of bands, the best first. Multiples of 8, so that the blocks of a
# JPEG end where pictures do.
_STEPS = ((96, 24), (80, 20), (64, 16), (56, 12), (48, 10), (40, 8), (32, 6), (24, 4), (16, 3))
_BYTES_PER_PIXEL = 0.25  # of a JPEG of pictures like these; only the first guess
_QUALITY = 72


def first_step(num: int, taken: int, size: int) -> tuple[int, int]:
    """Return pixels and bands that should fit for so many images, ``taken`` bytes being gone.

    ``size`` is that of the images themselves: pictures need not be larger.
    """
    for pixels, bands in _STEPS:
        side = min(pixels, size)
        if taken + 4 / 3 * num * side**2 * (bands + 1.5) * _BYTES_PER_PIXEL <= BUDGET:
            return side, bands
    return _STEPS[-1]


def fit(thumbs: Thumbnails, taken: int, nm: NDArray[np.float64]) -> dict[str, Any]:
    """Return the pictures as data addresses; smaller and at fewer bands until the page has room.

    Args:
        thumbs: The pictures.
        taken: Bytes that the rest of the page takes.
        nm: Wavelengths of the axis.
    """
    steps = [step for step in _STEPS if step[0] < thumbs.size or step[1] < len(thumbs.bands)]
    found = _encode(thumbs, nm)
    for size, bands in steps:
        if taken + _length(found) <= BUDGET:
            break
        found = _encode(thumbs.smaller(size, bands), nm)
    return found


def _length(found: dict[str, Any]) -> int:
    sources = [found["colour"], found["mask"] or "", *(one["src"] for one in found["bands"])]
    return sum(len(source) for source in sources)


def _encode(thumbs: Thumbnails, nm: NDArray[np.float64]) -> dict[str, Any]:
    whole = bool(thumbs.masks.all())
    grey = [np.repeat(plane[..., None], 3, axis=3) for plane in thumbs.planes]
    return {
        "size": thumbs.size,
        "columns": _columns(len(thumbs.rows)),
        "colour": _jpeg(thumbs.colour, thumbs.masks),
        "colour_name": thumbs.colour_name,
        "mask": None if whole else _alpha(thumbs.masks),
        "bands": [
            {"nm": round(float(nm[band]), 1), "src": _jpeg(plane, thumbs.masks)}
            for band, plane in zip(thumbs.bands, grey, strict=True)
        ],
    }


def _columns(num: int) -> int:
    return math.ceil(math.sqrt(num))


def _sheet(pictures: Bytes) -> Bytes:
    """Lay pictures ``(N, s, s, K)`` out row by row in a square."""
    num, size, _, kinds = pictures.shape
    columns = _columns(num)
    lines = math.ceil(num / columns)
    filled = np.zeros((lines * columns, size, size, kinds), np.uint8)
    filled[:num] = pictures
    laid = filled.reshape(lines, columns, size, size, kinds).swapaxes(1, 2)
    return np.ascontiguousarray(laid.reshape(lines * size, columns * size, kinds))


def _jpeg(pictures: Bytes, masks: NDArray[np.bool_]) -> str:
    """Return a sheet ``(N, s, s, 3)``; behind specimens their mean, so that no edge rings."""
    counts = np.maximum(masks.sum((1, 2)), 1)[:, None]
    means = (pictures * masks[..., None]).sum((1, 2)) / counts
    filled = np.where(masks[..., None], pictures, means[:, None, None].astype(np.uint8))
    how = {"quality": _QUALITY, "subsampling": 0, "optimize": True}
    return _address(_sheet(filled), "jpeg", **how)


def _alpha(masks: NDArray[np.bool_]) -> str:
    pictures = np.zeros((*masks.shape, 4), np.uint8)
    pictures[..., 3] = masks * np.uint8(255)
    return _address(_sheet(pictures), "png", optimize=True)


def _address(picture: Bytes, kind: str, **how: Any) -> str:
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, picture, format=kind, pil_kwargs=how)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
