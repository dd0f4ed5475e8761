"""Pictures of what a projection weighs and of what a search of bands chose, against nm."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hyperspec.spectra.band_projection import BandProjection


def draw_responses(projection: BandProjection) -> Figure:
    """Draw a projection's weights as an image: one row per channel, wavelength to the right.

    Each row is scaled by its largest weight; red is positive, blue negative.

    Args:
        projection: The projection.
    """
    order = np.argsort(projection.bands_nm, kind="stable")
    centres = projection.bands_nm[order]
    shares = projection.matrix[:, order]
    shares = shares / np.abs(shares).max(axis=1, keepdims=True)
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    # Cells around the centres, so that an uneven axis keeps its true scale.
    middles = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([centres[:1], middles, centres[-1:]])
    rows = np.arange(len(projection) + 1) + 0.5
    image = axes.pcolormesh(edges, rows, shares, cmap="RdBu_r", vmin=-1, vmax=1, rasterized=True)
    axes.set_xlabel("wavelength (nm)")
    axes.set_ylabel("channel")
    axes.set_title(f"bands={projection.strategy}, n={len(projection)}", fontsize=9)
    figure.colorbar(image, label="weight over the row's largest")
    return figure


def draw_choices(choices_nm: ArrayLike, temperatures: ArrayLike) -> Figure:
    """Draw the bands that a search would have chosen after each epoch.

    Args:
        choices_nm: Chosen wavelengths by epoch, nanometres, shape ``(epochs, n)``.
        temperatures: Temperature by epoch, shape ``(epochs,)``.
    """
    chosen = np.atleast_2d(np.asarray(choices_nm, np.float64))
    epochs = np.arange(1, len(chosen) + 1)
    figure = Figure(figsize=(8, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot(epochs, chosen, "-", lw=0.5, color="0.75")
    upper.plot(epochs, chosen, ".", ms=3, color="tab:blue")
    upper.plot(np.full(chosen.shape[1], epochs[-1]), chosen[-1], "<", ms=5, color="tab:red")
    upper.set_ylabel("chosen wavelength (nm)")
    lower.semilogy(epochs, temperatures, color="black", lw=1)
    lower.set_ylabel("temperature")
    lower.set_xlabel("epoch of the search")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure
