"""Encoders on bands that they were not trained on, as a matrix with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperspec.evaluation.pictures import new_axes
from hyperspec.evaluation.statistics.intervals import mean_interval
from hyperspec.utils.csv_text import csv_text

Scores: TypeAlias = Mapping[tuple[str, str], NDArray[np.floating]]


class Cell(NamedTuple):
    """Score of one encoder on one band set, with its 95% interval over specimens."""

    encoder: str
    bands: str
    value: float
    low: float
    high: float


def cross_table(scores: Scores, specimens: Sequence[str]) -> list[Cell]:
    """Return a cell per encoder and band set.

    Args:
        scores: By (encoder, band set) one score per test row, ``(N,)``, 0 or 1; NaN where a row has
            no label. Pairs that cannot be evaluated are left out.
        specimens: Specimen of each test row, ``(N,)``.
    """
    cells = []
    for pair, values in scores.items():
        found = mean_interval(values, specimens)
        cells.append(Cell(*pair, found.mean, found.low, found.high))
    return cells


def draw_cross(table: Sequence[Cell], title: str) -> Figure:
    """Draw the matrix: encoders down, band sets across, value and interval in each cell."""
    encoders = list(dict.fromkeys(cell.encoder for cell in table))
    sets = list(dict.fromkeys(cell.bands for cell in table))
    values = np.full((len(encoders), len(sets)), np.nan)
    figure, axes = new_axes(2.5 + 1.1 * len(sets), 1.4 + 0.6 * len(encoders))
    for row in table:
        values[encoders.index(row.encoder), sets.index(row.bands)] = row.value
    axes.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for row in table:
        y, x = encoders.index(row.encoder), sets.index(row.bands)
        colour = "white" if row.value > 0.6 else "black"
        axes.text(x, y - 0.1, f"{row.value:.2f}", ha="center", va="center", color=colour)
        ends = f"{row.low:.2f}-{row.high:.2f}"
        axes.text(x, y + 0.25, ends, ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(len(sets)), sets, fontsize=8)
    axes.set_yticks(range(len(encoders)), encoders, fontsize=8)
    axes.set(xlabel="evaluated on", ylabel="trained on")
    axes.set_title(title, fontsize=9, loc="left")
    return figure


def write_cross(table: Sequence[Cell], folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``cross_spectral.csv`` and ``cross_spectral.png`` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    csv, picture = folder / "cross_spectral.csv", folder / "cross_spectral.png"
    frame = pd.DataFrame(table, columns=Cell._fields)
    csv.write_text(csv_text(frame, float_format="%.6g", na_rep="nan"), encoding="utf-8")
    draw_cross(table, title).savefig(picture, dpi=150, metadata={"Software": None})
    return csv, picture
