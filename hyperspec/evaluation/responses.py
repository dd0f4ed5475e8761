"""A picture of what each channel of a projection weighs, against nm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hyperspec.spectra.projection import BandProjection

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_responses(projection: BandProjection) -> Figure:
    """Draw a projection's weights as an image: one row per channel, wavelength to the right.

    Each row is scaled by its largest weight; red is positive, blue negative.

    Args:
        projection: The projection.
    """
    from matplotlib.figure import Figure

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
