"""One scene cut into tiles, in blocks that share no pixel, so that a split cannot leak.

The scene is first cut into rectangular blocks; the tiles are then laid inside each block. A tile
never reaches into another block: where a block is smaller than a tile, what lies outside it is
masked. So tiles may overlap as much as the stride says and still no pixel is in two blocks, and
the block is the specimen that splits are grouped by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hyperspec.cubes.checksums import combined
from hyperspec.cubes.cube import Window
from hyperspec.datasets.catalogue.label_map import MapLabels
from hyperspec.datasets.catalogue.records import Catalogue, CubeRecord
from hyperspec.datasets.preparation.preparation import TileSettings
from hyperspec.datasets.preparation.prepare import Preparer, check_range
from hyperspec.datasets.store.source import PreparedSource, gather
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.utils.errors import CatalogueError

if TYPE_CHECKING:
    import pandas as pd


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
    here = window._replace(row=window.row - area.row, col=window.col - area.col)
    return slice(None), *here.slices


TILES_VERSION = 1


# A tile of which less is visible says little about its place.
MIN_VISIBLE = 0.25


class TileSource(PreparedSource):
    """The tiles of a folder's scenes; a ``SpecimenSource`` that writes nothing.

    Args:
        catalogue: The scenes; usually one.
        settings: How they are cut.
        labels: Where their labels come from; None without any.

    Raises:
        CatalogueError: If no scene holds a tile, or a map of labels does not fit its scene.
    """

    def __init__(
        self, catalogue: Catalogue, settings: TileSettings, labels: MapLabels | None = None
    ) -> None:
        super().__init__(catalogue.axis, settings.tile, settings.dtype)
        self.settings = settings
        self._preparer = Preparer(catalogue, settings.of_scene())
        self.calibration = tuple(self._preparer.calibrator.lines())
        self._records = catalogue.records
        self._labels = labels
        self._maps = [
            None if labels is None else labels.read(catalogue.root, r.path, r.shape[1:])
            for r in self._records
        ]
        self._foregrounds = [self._preparer.locate(r).foreground for r in self._records]
        self._tiles = [
            tile for scene in range(len(self._records)) for tile in self._tiles_of(scene)
        ]
        if not self._tiles:
            shape = self._records[0].shape
            raise CatalogueError(
                f"No tile of {settings.tile}x{settings.tile} pixels fits the scenes in "
                f"{catalogue.root} (the first has {shape[1]} lines and {shape[2]} samples) with at "
                f"least {MIN_VISIBLE:.0%} foreground in one of its {MIN_BLOCKS} or more blocks. "
                "Choose a smaller data.tile, or data.mask=none."
            )

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per tile: file, label, specimen (the block), view, date, scene, place."""
        import pandas as pd

        return pd.DataFrame([self._row(tile) for tile in self._tiles])

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits of the scenes, their labels and how they are cut."""
        content = [TILES_VERSION, self._preparer.catalogue.hash, asdict(self.settings)]
        if self._labels is not None:
            named = [None if one is None else one.hash for one in self._maps]
            content += [named, self._labels.share]
        return combined([*content, self._preparer.hash], 16)

    def __len__(self) -> int:
        return len(self._tiles)

    def _read_into(self, target: NDArray[np.floating], rows: list[int], bands: list[int]) -> None:
        target[...] = 0
        for tile, places in self._by_block(rows):
            area = self._read(tile, bands)
            for place in places:
                window = self._tiles[rows[place]].window
                visible = self._visible(self._tiles[rows[place]])
                part = area[inside(tile.area, window)]
                kept = np.where(visible & np.isfinite(part), part, 0)
                check_range(kept, self.dtype, self._records[tile.scene].path)
                target[place, :, : window.height, : window.width] = kept

    def _masks(self, rows: list[int]) -> NDArray[np.bool_]:
        out = np.zeros((len(rows), self.size, self.size), bool)
        for place, row in enumerate(rows):
            window = self._tiles[row].window
            out[place, : window.height, : window.width] = self._visible(self._tiles[row])
        return out

    def _statistics(self, rows: list[int], classes: list[str | None]) -> SpectralStatistics:
        """Gather; a pixel of several tiles counts once."""
        parts = [
            (tile, [self._tiles[rows[place]] for place in places if classes[place] == name], name)
            for tile, places in self._by_block(rows)
            for name in dict.fromkeys(classes[place] for place in places)
        ]

        def load(part: int) -> SpectralStatistics:
            tile, members, _ = parts[part]
            area = self._read(tile, list(range(len(self.axis))))
            union = np.zeros(area.shape[1:], bool)
            for member in members:
                union[inside(tile.area, member.window)[1:]] |= self._visible(member)
            return SpectralStatistics.from_spectra(area[:, union].T, self.axis)

        return gather(load, range(len(parts)), [name for *_, name in parts])

    def _tiles_of(self, scene: int) -> Iterator[Tile]:
        height, width = self._foregrounds[scene].shape
        least = MIN_VISIBLE * self.settings.tile**2
        for number, area in enumerate(blocks(height, width, self.settings.tile)):
            for window in windows(area, self.settings.tile, self.settings.stride):
                tile = Tile(scene, number, area, window)
                if self._visible(tile).sum() >= least:
                    yield tile

    def _visible(self, tile: Tile) -> NDArray[np.bool_]:
        return self._foregrounds[tile.scene][tile.window.slices]

    def _read(self, tile: Tile, bands: Sequence[int] | None) -> NDArray[np.float32]:
        """Read a whole block: its tiles overlap."""
        return self._preparer.read(self._records[tile.scene], bands, tile.area)

    def _by_block(self, chosen: Sequence[int]) -> Iterator[tuple[Tile, list[int]]]:
        groups: dict[tuple[int, int], list[int]] = {}
        for place, row in enumerate(chosen):
            tile = self._tiles[row]
            groups.setdefault((tile.scene, tile.block), []).append(place)
        for places in groups.values():
            yield self._tiles[chosen[places[0]]], places

    def _label(self, tile: Tile) -> str | None:
        found = self._maps[tile.scene]
        if found is None or self._labels is None:
            return self._records[tile.scene].label
        return found.majority(tile.window.slices, self._visible(tile), self._labels.share)

    def _row(self, tile: Tile) -> dict[str, str | int | None]:
        record: CubeRecord = self._records[tile.scene]
        return {
            **record.labels,
            "file": f"{record.file}#{tile.window.row},{tile.window.col}",
            "label": self._label(tile),
            "specimen": f"{record.specimen}#{tile.block}",
            "view": None,
            "date": record.date,
            "scene": record.file,
            "block": tile.block,
            "row": tile.window.row,
            "col": tile.window.col,
        }
