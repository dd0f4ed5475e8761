"""Specimens that golden numbers are computed on: small, in memory, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperspec.bands import Learned, Strategy
from hyperspec.datasets.rotation import Rotation
from hyperspec.datasets.splits import Split, grouped_split
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection
from hyperspec.spectra.statistics import SpectralStatistics
from hyperspec.training.data import Material

SIZE, BANDS, CLASSES, SPECIMENS, VIEWS = 16, 24, 3, 6, 2
AXIS = SpectralAxis.linear(350.0, 800.0, BANDS)


class ArraySource:
    """Specimens in memory. Values are multiples of 1/1024: exact in every type, in any order."""

    size = SIZE
    axis = AXIS
    dtype = np.dtype(np.float64)
    hash = "golden"

    def __init__(self) -> None:
        rng = np.random.default_rng(20)
        rows = [(c, s, v) for c in range(CLASSES) for s in range(SPECIMENS) for v in range(VIEWS)]
        y, x = np.mgrid[:SIZE, :SIZE]
        self.foreground = np.stack(
            [np.hypot(y - 7.5, x - 7.5) < 5.0 + rng.integers(0, 3) for _ in rows]
        )
        shapes = rng.integers(100, 700, (CLASSES, BANDS, 1, 1))
        own = rng.integers(-60, 60, (CLASSES, SPECIMENS, BANDS, 1, 1))
        texture = rng.integers(-40, 40, (len(rows), BANDS, SIZE, SIZE))
        values = np.stack([shapes[c] + own[c, s] for c, s, _ in rows]) + texture
        self.values = (values / 1024 * self.foreground[:, None]).astype(np.float64)
        self.table = pd.DataFrame(
            {
                "file": [f"{c}_{s}_{v}.bil" for c, s, v in rows],
                "label": [f"class {c}" for c, _, _ in rows],
                "specimen": [f"{c}/{s}" for c, s, _ in rows],
                "view": ["DV"[v] for _, _, v in rows],
            }
        )

    def __len__(self) -> int:
        return len(self.values)

    def planes(
        self,
        rows: Sequence[int],
        bands: Sequence[int] | BandSelection,
        out: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float64]:
        chosen = bands.indices if isinstance(bands, BandSelection) else bands
        found = self.values[np.ix_(list(rows), list(chosen))]
        if out is not None:
            out[...] = found
        return found

    def masks(self, rows: Sequence[int]) -> NDArray[np.bool_]:
        return self.foreground[list(rows)]

    def statistics(self, rows: Sequence[int], labels: Sequence[str | None]) -> SpectralStatistics:
        spectra, names = [], []
        for row, label in zip(rows, labels, strict=True):
            spectra.append(self.values[row][:, self.foreground[row]].T.astype(np.float64))
            names += [label] * len(spectra[-1])
        return SpectralStatistics.from_spectra(np.concatenate(spectra), AXIS, labels=names)


def split_of(table: pd.DataFrame, rotation: Rotation | None = None) -> Split:
    """Return the split that `gather` would make of a source's table."""
    return grouped_split(
        [str(label) for label in table["label"]],
        [str(key) for key in table["specimen"]],
        fractions=[0.5, 0.25, 0.25],
        seed=0,
        keys=[str(name) for name in table["file"]],
        hold_out=[],
        rotation=rotation,
    )


def material_of(strategy: Strategy) -> Material:
    """Return what `gather` would of these specimens."""
    source = ArraySource()
    labels = [str(label) for label in source.table["label"]]
    split = split_of(source.table)
    statistics = source.statistics(split.train.tolist(), [labels[row] for row in split.train])
    if isinstance(strategy, Learned):
        selection = strategy.candidates(AXIS)
    else:
        selection = strategy.select(AXIS, statistics)
    return Material(source, split, statistics, selection)  # type: ignore[arg-type]
