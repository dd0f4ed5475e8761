"""What is cut out of a frame, and how it is resized: from foreground pixels only."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Box(NamedTuple):
    """A square of the frame; it may reach beyond the frame's edges.

    Args:
        row: First line, may be negative.
        col: First sample, may be negative.
        side: Length in pixels, at least 1.
    """

    row: int
    col: int
    side: int


def square_box(mask: NDArray[np.bool_], margin: float) -> Box:
    """Return the square around the True pixels of a mask.

    Args:
        mask: At least one True, shape ``(H, W)``.
        margin: Added on each side, as a share of the longer side of the bounding box, 0 to 1.
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1
    longer = int(max(height, width))
    side = longer + 2 * math.ceil(margin * longer)
    return Box(
        int(rows[0]) - (side - int(height)) // 2, int(cols[0]) - (side - int(width)) // 2, side
    )


def weights(first: int, side: int, size: int, length: int) -> NDArray[np.float32]:
    """Return the matrix that resamples one direction of a box.

    Downwards each output pixel is the mean over the input that it covers, with parts of pixels by
    their share (a box filter); upwards it is interpolated linearly between pixel centres.

    Args:
        first: Where the box begins in the frame, may be negative.
        side: Length of the box in input pixels.
        size: Number of output pixels.
        length: Length of the frame.

    Returns:
        Shape ``(size, length)``; rows sum to 1 inside the frame and to less where the box leaves
        it, since what lies outside has no weight.
    """
    position = np.arange(length) - first  # input pixel j covers [position_j, position_j + 1)
    output = np.arange(size)[:, None]
    if side >= size:
        # In units of 1/size input pixels every edge is a whole number: no rounding.
        start = np.maximum(position * size, output * side)
        stop = np.minimum((position + 1) * size, (output + 1) * side)
        share = np.maximum(stop - start, 0) / side
    else:
        centre = np.clip((output + 0.5) * (side / size), 0.5, side - 0.5)
        share = np.maximum(1 - np.abs(centre - (position + 0.5)), 0)
    return np.asarray(share, np.float32)


def resample(
    image: NDArray[np.float32], mask: NDArray[np.bool_], box: Box, size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Cut a box out and resize it, from foreground pixels only.

    Each output pixel is the weighted mean of the *foreground* pixels under it: with R the weights
    of rows and columns, ``(R_y (x * m) R_x^T) / (R_y m R_x^T)``, two matrix products per band. So
    nothing of the background enters the specimen's rim. The weights are sparse: an output pixel
    covers few input pixels, and dense products took two to four times as long.

    Args:
        image: Shape ``(n, H, W)``; values outside the mask may be anything, NaN too.
        mask: Foreground, shape ``(H, W)``.
        box: What to cut out.
        size: Sides of the result, S.

    Returns:
        Image of shape ``(n, S, S)``, 0 outside the mask, and the mask ``(S, S)``: pixels of which
        the foreground covers at least half.
    """
    from scipy.sparse import csr_array

    height, width = mask.shape
    rows = slice(max(box.row, 0), min(box.row + box.side, height))
    cols = slice(max(box.col, 0), min(box.col + box.side, width))
    down = weights(box.row, box.side, size, height)[:, rows]
    across = weights(box.col, box.side, size, width)[:, cols]
    inside = mask[rows, cols]
    cover = down @ inside.astype(np.float32) @ across.T
    # A rim of half-covered pixels stays; rounding must not decide at exactly one half.
    kept = cover >= 0.5 - 1e-4
    scale = np.divide(1, cover, out=np.zeros_like(cover), where=kept)
    sparse_down, sparse_across = csr_array(down), csr_array(across)
    result = np.empty((len(image), size, size), np.float32)
    whole = bool(inside.all())
    for plane, target in zip(image[:, rows, cols], result, strict=True):
        # where, not a product: NaN times 0 is NaN.
        lines = sparse_down @ (plane if whole else np.where(inside, plane, np.float32(0)))
        np.multiply((sparse_across @ np.ascontiguousarray(lines.T)).T, scale, out=target)
    return result, kept
