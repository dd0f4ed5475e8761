"""Spectral signatures: what the spectrum of each label looks like, and how much it varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.embeddings import specimen_means
from hyperspec.evaluation.pictures import draw_strip, lay_out
from hyperspec.spectra.statistics import REFLECTANCE
from hyperspec.utils.csv_text import csv_text


@dataclass(frozen=True, eq=False)
class Signature:
    """Mean and spread of one label's reflectance spectra.

    Args:
        label: The label.
        num_specimens: Specimens behind it; several views of one count once.
        mean: Mean reflectance over specimens, ``(C,)``.
        sd: Standard deviation between specimens (ddof 1), ``(C,)``; NaN for a single one.
    """

    label: str
    num_specimens: int
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]


def spectral_signatures(
    spectra: ArrayLike, labels: Sequence[str | None], specimens: Sequence[str]
) -> list[Signature]:
    """Return the signature of each label, in order of name.

    Views of one specimen are averaged first, so that the spread is that between animals.

    Args:
        spectra: Masked mean reflectance of each image, ``(N, C)``, from
            :func:`hyperspec.evaluation.controls.spectra.mean_spectra`: reflectance, not embeddings.
        labels: Label of each row, ``(N,)``; rows with None are left out.
        specimens: Unique specimen key of each row, ``(N,)``.

    Raises:
        ValueError: If shapes do not fit.
    """
    found = []
    by_label = specimen_means(np.asarray(spectra, np.float64), labels, specimens, what="spectra")
    for label, animals in by_label.items():
        several = len(animals) > 1
        spread = animals.std(0, ddof=1) if several else np.full(animals.shape[1], np.nan)
        found.append(Signature(label, len(animals), animals.mean(0), spread))
    return found


def signature_table(signatures: Sequence[Signature], wavelengths_nm: ArrayLike) -> pd.DataFrame:
    """Return one row per label and band, at centres ``(C,)`` in nanometres.

    Columns: label, num_specimens, wavelength_nm, mean, sd.
    """
    centres = np.asarray(wavelengths_nm, np.float64)
    tables = [pd.DataFrame({**vars(one), "wavelength_nm": centres}) for one in signatures]
    columns = ["label", "num_specimens", "wavelength_nm", "mean", "sd"]
    return pd.concat(tables, ignore_index=True)[columns]


def write_signatures(
    signatures: Sequence[Signature],
    wavelengths_nm: ArrayLike,
    folder: Path,
    *,
    marks_nm: Mapping[str, Sequence[float]] | None = None,
    quantity: str = REFLECTANCE,
) -> tuple[Path, Path]:
    """Write ``signatures.csv`` and ``signatures.png`` and return their paths.

    The arguments are those of :func:`draw_signatures`; the folder is made when absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "signatures.csv", folder / "signatures.png"
    values = signature_table(signatures, wavelengths_nm).assign(quantity=quantity)
    table.write_text(csv_text(values, float_format="%.6g"), encoding="utf-8")
    figure = draw_signatures(signatures, wavelengths_nm, marks_nm=marks_nm, quantity=quantity)
    figure.savefig(picture, dpi=150, metadata={"Software": None})
    return table, picture


def draw_signatures(
    signatures: Sequence[Signature],
    wavelengths_nm: ArrayLike,
    *,
    marks_nm: Mapping[str, Sequence[float]] | None = None,
    quantity: str = REFLECTANCE,
) -> Figure:
    """Draw mean ± one standard deviation against wavelength, with band marks under the curves.

    Args:
        signatures: Signatures over the same bands.
        wavelengths_nm: Band centres in nanometres, ``(C,)``; drawn in ascending order.
        marks_nm: Bands to mark under the curves, in nanometres by name of their strategy.
        quantity: What the values are: ``statistics.quantity`` of the spectra.
    """
    centres = np.asarray(wavelengths_nm, np.float64)
    order = np.argsort(centres)
    marks = dict(marks_nm or {})
    figure = Figure(figsize=(8, 4.5 + 0.22 * len(marks)), layout="constrained")
    rows = 2 if marks else 1
    heights = [4.0, 0.22 * len(marks)][:rows]
    grid = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    axes = grid[0]
    for i, one in enumerate(signatures):
        colour = colormaps["tab10" if len(signatures) <= 10 else "tab20"](i % 20)
        low, high = one.mean - one.sd, one.mean + one.sd
        axes.fill_between(centres[order], low[order], high[order], color=colour, alpha=0.15, lw=0)
        name = f"{one.label} ({one.num_specimens})"
        axes.plot(centres[order], one.mean[order], color=colour, lw=1.3, label=name)
    spread = any(np.isfinite(one.sd).any() for one in signatures)
    axes.set_ylabel(f"{quantity}, mean ± sd" if spread else f"mean {quantity}")
    axes.legend(title="label (specimens)", fontsize=7, title_fontsize=7, ncols=2, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    if marks:
        draw_strip(grid[1], marks)
    grid[-1].set_xlabel("wavelength (nm)")
    return figure


class MarkedSignatures:
    """A picture of signatures over one line of marks, drawn once for many sets of bands.

    Args:
        figure: Of :func:`draw_signatures`, with the marks of one set; later ones must lie between
            its ends, since the axes stay as they are.
    """

    def __init__(self, figure: Figure) -> None:
        lay_out(figure)
        self._strip = figure.axes[1]
        (self._marks,) = self._strip.lines
        self._marks.set_animated(True)  # left out of the drawing
        self._canvas: Any = FigureCanvasAgg(figure)  # without types
        self._canvas.draw()  # type: ignore[no-untyped-call]
        self._unmarked = self._canvas.copy_from_bbox(figure.bbox)  # type: ignore[no-untyped-call]

    def png(self, marks_nm: Sequence[float]) -> bytes:
        """Return the picture with marks at these wavelengths, in nanometres."""
        self._canvas.restore_region(self._unmarked)
        self._marks.set_data(marks_nm, np.zeros(len(marks_nm)))
        self._strip.draw_artist(self._marks)
        content = BytesIO()
        # Stronger compression takes twice as long for a tenth of the bytes.
        quick = {"compress_level": 1}
        imsave(content, self._canvas.buffer_rgba(), format="png", pil_kwargs=quick)
        return content.getvalue()
