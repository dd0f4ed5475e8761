"""Where tiles lie in a scene: blocks that share no pixel, and tiles inside each block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hyperspec.cubes.window import Window

# Two for training, one for validation, one for test.
MIN_BLOCKS = 4
# Sides of a block in tiles, where the scene has room: at half a tile of stride it holds 9 tiles.
BLOCK_TILES = 2


@dataclass(frozen=True)
class Tile:
    """One tile of one scene.

    Args:
        scene: Position of the scene in the catalogue.
        block: Number of the block within the scene.
        area: The block, in pixels of the scene.
        window: The visible part of the tile, inside the block; smaller than a tile where the block
            is.
    """

    scene: int
    block: int
    area: Window
    window: Window


def blocks(height: int, width: int, tile: int) -> list[Window]:
    """Cut a frame into blocks of about two tiles a side, and into at least four.

    A frame too small for four such blocks is cut along its longer side, into strips narrower than
    two tiles and if need be than one.

    Args:
        height: Lines.
        width: Samples.
        tile: Side of a tile.

    Returns:
        Blocks in reading order; together they are the frame, and no two overlap.
    """
    down, across = (max(1, length // (BLOCK_TILES * tile)) for length in (height, width))
    if down * across < MIN_BLOCKS and height > width:
        down = math.ceil(MIN_BLOCKS / across)
    elif down * across < MIN_BLOCKS:
        across = math.ceil(MIN_BLOCKS / down)
    rows, cols = (
        np.linspace(0, length, count + 1).astype(int).tolist()
        for length, count in ((height, down), (width, across))
    )
    return [
        Window(top, left, bottom - top, right - left)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(cols)
        if bottom > top and right > left
    ]


def windows(area: Window, tile: int, stride: int) -> list[Window]:
    """Lay tiles inside a block, the last of each row and column flush with the block's end.

    Args:
        area: The block.
        tile: Side of a tile.
        stride: Pixels from one tile to the next.

    Returns:
        Windows of the scene; together they cover the block.
    """

    def starts(length: int) -> list[int]:
        last = max(length - tile, 0)
        return sorted({*range(0, last + 1, stride), last})

    return [
        Window(area.row + y, area.col + x, min(tile, area.height), min(tile, area.width))
        for y in starts(area.height)
        for x in starts(area.width)
    ]


def inside(area: Window, window: Window) -> tuple[slice, slice, slice]:
    """Return where a window of the scene lies in an array ``(n, h, w)`` of its block."""
    row, col = window.row - area.row, window.col - area.col
    return slice(None), slice(row, row + window.height), slice(col, col + window.width)
