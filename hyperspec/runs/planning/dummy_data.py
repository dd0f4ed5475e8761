"""Specimens in name only, so that a config's module can be built where there are no data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hyperspec.bands import ChannelStrategy, Filters, Learned, Strategy, Uniform
from hyperspec.config.schema import Train
from hyperspec.cubes.open import open_cube
from hyperspec.datasets.config import Data, TilesData, specimen_files
from hyperspec.datasets.splits import Split
from hyperspec.datasets.store.source import Bands
from hyperspec.models.config import PretrainableConfig
from hyperspec.spectra.axis import SpectralAxis, mission_axis
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.training.band_search import assemble_search
from hyperspec.training.builders import assemble
from hyperspec.training.data import Material
from hyperspec.training.simclr import SimCLR
from hyperspec.utils.errors import HyperspecError

_SPECTRA = 64  # random ones; their statistics decide no shape


@dataclass(frozen=True)
class Folder:
    """What is known of a folder from its file names and one header.

    The axis is the first cube's, the mission's where there is none; images are cubes, or windows of
    tiles.
    """

    axis: SpectralAxis
    num_images: int


class StandIn:
    """A source of random reflectance: shapes and types as of real specimens.

    It has ``num_images`` of ``size`` lines and samples; 0 where only shapes are asked for.
    """

    def __init__(
        self, axis: SpectralAxis, size: int, num_images: int, dtype: np.dtype[np.floating]
    ) -> None:
        self.axis, self.size, self.num_images, self.dtype = axis, size, num_images, dtype
        self.hash = "0" * 16
        self.table = pd.DataFrame({"file": [f"{row}.bil" for row in range(num_images)]})

    def __len__(self) -> int:
        return self.num_images

    def planes(
        self,
        rows: Sequence[int],
        bands: Bands | None = None,
        out: NDArray[np.floating] | None = None,
    ) -> NDArray[np.floating]:
        """Return random images ``(len(rows), n, S, S)``, in ``out`` when that is given."""
        count = len(self.axis) if bands is None else len(bands)
        if out is None:
            out = np.empty((len(rows), count, self.size, self.size), self.dtype)
        for place, row in enumerate(rows):
            rng = np.random.default_rng(row)
            for channel in out[place]:
                channel[:] = rng.random(channel.shape, np.float32)
        return out

    def masks(self, rows: Sequence[int]) -> NDArray[np.bool_]:
        """Return masks that are foreground everywhere."""
        return np.ones((len(rows), self.size, self.size), np.bool_)

    def statistics(
        self, rows: Sequence[int], by: Sequence[str | None] | None = None
    ) -> SpectralStatistics:
        """Return the statistics of random spectra."""
        spectra = np.random.default_rng(0).random((_SPECTRA, len(self.axis)))
        return SpectralStatistics.from_spectra(spectra, self.axis)


def look(data: Data) -> Folder:
    """Read what a plan needs of a folder: the number of cubes, and the axis of one.

    Where there is no folder the config's axis is taken, else that of the mission's camera.
    """
    axis = data.own_axis
    try:
        cubes = specimen_files(data)
        with open_cube(cubes[0], axis, options=data.reading) as cube:
            tiles = 1
            if isinstance(data, TilesData):
                sides = cube.shape[1:]
                tiles = math.prod(max((n - data.tile) // data.stride + 1, 0) for n in sides)
            return Folder(cube.axis, tiles * len(cubes))
    except (HyperspecError, IndexError):
        return Folder(axis or mission_axis(), 0)


def stand_in(config: Train, axis: SpectralAxis, num_images: int = 0) -> Material:
    """Return material of a config's shapes, with some random images where more is asked for.

    A strategy that reads statistics is replaced by evenly spread bands: as many, found at once.
    """
    data = config.data
    tiles = isinstance(data, TilesData)
    size = int(getattr(data, "tile" if tiles else "size", 64))
    source = StandIn(axis, size, num_images, np.dtype(np.float32 if tiles else np.float16))
    statistics = source.statistics([])
    rows = np.arange(num_images)
    split = Split(rows, rows[:0], rows[:0], "0" * 12)
    return Material(source, split, statistics, _choose(config.bands, axis, statistics))


def _choose(
    strategy: Strategy, axis: SpectralAxis, statistics: SpectralStatistics
) -> BandSelection:
    if isinstance(strategy, Learned):
        return strategy.candidates(axis)
    if isinstance(strategy, Filters):  # which filters decides no shape
        strategy = dataclasses.replace(strategy, strategy=Uniform.name)
    n = getattr(strategy, "n", None)
    if strategy.needs_statistics and not isinstance(strategy, ChannelStrategy) and n:
        return Uniform(n=int(n)).select(axis)
    return strategy.select(axis, statistics)


def build(config: Train, material: Material, device: torch.device) -> SimCLR:
    """Return the module that a config's run trains: of the search for ``bands=learned``.

    Pretrained weights are not read: they have the shapes of random ones.
    """
    model = config.model
    if isinstance(model, PretrainableConfig) and getattr(model, "norm", "") != "frozen":
        config = dataclasses.replace(config, model=dataclasses.replace(model, weights=None))
    if len(material.source) == 0:  # nothing to bring anywhere
        data = dataclasses.replace(config.data, residency="mmap")
        config = dataclasses.replace(config, data=data)
    if isinstance(config.bands, Learned):
        return assemble_search(config, config.bands, material, device)
    return assemble(config, material, device)
