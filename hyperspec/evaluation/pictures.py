"""Pictures of embeddings in the plane, of bands, and of what a projection weighs, against nm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hyperspec.evaluation.embeddings import Floats, normalised
from hyperspec.spectra.band_projection import BandProjection

# Okabe & Ito (2008), "Color universal design": told apart by colour-blind readers too; the light
# yellow is left out, since it vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX*"  # one more than colours: no pair of both comes twice among 56
_MOST_NAMED = 56  # labels of a legend
_NAMES_HIGH = 26  # of a column of it

Method: TypeAlias = Literal["pca", "umap"]


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of so many inches with empty axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def lay_out(figure: Figure) -> None:
    """Lay a figure out now, once: saving one with a layout draws all of it twice, each time."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)  # "none" would leave another, and the second drawing


def draw_marks(marks_nm: Mapping[str, Sequence[float]], range_nm: tuple[float, float]) -> Figure:
    """Draw a line of marks per set of bands, in nm by its name, on an axis between two ends."""
    figure, axes = new_axes(8, 1 + 0.22 * len(marks_nm))
    draw_strip(axes, marks_nm)
    axes.set_xlim(*range_nm)
    axes.set_xlabel("wavelength (nm)")
    return figure


def draw_strip(axes: Axes, marks_nm: Mapping[str, Sequence[float]]) -> None:
    """Draw the lines of marks, the first on top."""
    for height, nm in enumerate(marks_nm.values()):
        axes.plot(nm, np.full(len(nm), -height), "|", color="black", ms=7, mew=0.8)
    axes.set_yticks(-np.arange(len(marks_nm)), list(marks_nm), fontsize=7)
    axes.set_ylim(-len(marks_nm) + 0.5, 0.5)
    axes.spines[["top", "right", "left"]].set_visible(False)


def to_plane(features: ArrayLike, method: Method = "pca", *, seed: int = 0) -> tuple[Floats, str]:
    """Map features at unit length to two dimensions.

    Args:
        features: Features, ``(N, F)``, N at least 3.
        method: ``pca``: the two leading components, always the same; ``umap``: neighbourhoods,
            whose distances between groups mean nothing (needs the extra ``umap``).
        seed: Seed of ``umap``.

    Returns:
        Points ``(N, 2)``, and what the axes are, in words.

    Raises:
        ImportError: If ``umap`` is asked for and not installed.
    """
    unit = normalised(features)
    if method == "umap":
        return _umap(unit, seed), "UMAP of cosine neighbourhoods"
    centred = unit - unit.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    # An eigenvector's sign is arbitrary: the largest point of each component is positive.
    signs = np.sign(left[np.abs(left[:, :2]).argmax(0), [0, 1]])
    share = singular[:2] ** 2 / max(float(np.sum(singular**2)), 1e-300)
    text = f"PCA: {share[0]:.0%} and {share[1]:.0%} of the variance"
    return np.asarray(left[:, :2] * singular[:2] * signs), text


def _umap(unit: Floats, seed: int) -> Floats:
    import warnings

    with warnings.catch_warnings():
        # Its parametric form, which nothing here uses, wants TensorFlow.
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        from umap import UMAP

        # A fixed seed means one thread, which umap remarks on each time.
        warnings.filterwarnings("ignore", "n_jobs value", UserWarning)
        reducer = UMAP(
            n_neighbors=min(15, len(unit) - 1), metric="cosine", random_state=seed, n_jobs=1
        )
        return np.asarray(reducer.fit_transform(unit), np.float64)


def draw_plane(points: Floats, labels: Sequence[str | None], title: str) -> Figure:
    """Draw images, points ``(N, 2)``, each label with a colour and a shape; without one in grey."""
    names = sorted({label for label in labels if label is not None})
    columns = max(-(-len(names) // _NAMES_HIGH), 1) if len(names) <= _MOST_NAMED else 0
    figure, axes = new_axes(5.6 + 1.6 * columns, 4.6)
    known = np.asarray([label is not None for label in labels])
    if not known.all():
        axes.scatter(
            points[~known, 0], points[~known, 1], s=12, color="0.8", lw=0, label="no label"
        )
    for i, name in enumerate(names):
        rows = np.asarray([label == name for label in labels])
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        text = f"{name} ({rows.sum()})"
        axes.scatter(
            points[rows, 0], points[rows, 1], s=20, color=colour, marker=marker, lw=0, label=text
        )
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    if columns:
        legend = figure.legend(
            loc="outside right upper", fontsize=7, frameon=False, ncols=columns, title_fontsize=7
        )
        legend.set_title("label (images)")
    return figure


def draw_responses(projection: BandProjection) -> Figure:
    """Draw a projection's weights as an image: one row per channel, wavelength to the right.

    Each row is scaled by its largest weight; red is positive, blue negative.
    """
    order = np.argsort(projection.bands_nm, kind="stable")
    centres = projection.bands_nm[order]
    shares = projection.matrix[:, order]
    shares = shares / np.abs(shares).max(axis=1, keepdims=True)
    figure, axes = new_axes(8, 4)
    # Cells around the centres, so that an uneven axis keeps its true scale.
    middles = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([centres[:1], middles, centres[-1:]])
    rows = np.arange(len(projection) + 1) + 0.5
    image = axes.pcolormesh(edges, rows, shares, cmap="RdBu_r", vmin=-1, vmax=1, rasterized=True)
    axes.set(xlabel="wavelength (nm)", ylabel="channel")
    what = f"What each of the {len(projection)} channels weighs (bands={projection.strategy})"
    axes.set_title(what, fontsize=9, loc="left")
    figure.colorbar(image, label="weight over the row's largest")
    return figure


def draw_choices(choices_nm: ArrayLike, temperatures: ArrayLike) -> Figure:
    """Draw the bands that a search would have chosen after each epoch.

    Choices are ``(epochs, n)`` in nanometres, temperatures ``(epochs,)``.
    """
    chosen = np.atleast_2d(np.asarray(choices_nm, np.float64))
    epochs = np.arange(1, len(chosen) + 1)
    figure = Figure(figsize=(8, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot(epochs, chosen, "-", lw=0.5, color="0.75")
    upper.plot(epochs, chosen, ".", ms=3, color="tab:blue")
    upper.plot(np.full(chosen.shape[1], epochs[-1]), chosen[-1], "<", ms=5, color="tab:red")
    upper.set_ylabel("chosen wavelength (nm)")
    title = "Bands that the search would choose after each epoch; red: what it chose"
    upper.set_title(title, fontsize=9, loc="left")
    lower.semilogy(epochs, temperatures, color="black", lw=1)
    lower.set(xlabel="epoch of the search", ylabel="temperature")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure
