"""Pictures of embeddings in the plane, and of bands along the axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.embeddings import normalised

Floats: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Literal["pca", "umap"]


def draw_marks(marks_nm: Mapping[str, Sequence[float]], range_nm: tuple[float, float]) -> Figure:
    """Draw one line of marks per set of bands.

    Args:
        marks_nm: Wavelengths in nanometres by name of their set.
        range_nm: Ends of the axis.
    """
    figure = Figure(figsize=(8, 1 + 0.22 * len(marks_nm)), layout="constrained")
    axes = figure.subplots()
    for height, nm in enumerate(marks_nm.values()):
        axes.plot(nm, np.full(len(nm), -height), "|", color="black", ms=7, mew=0.8)
    axes.set_yticks(-np.arange(len(marks_nm)), list(marks_nm), fontsize=7)
    axes.set_ylim(-len(marks_nm) + 0.5, 0.5)
    axes.set_xlim(*range_nm)
    axes.set_xlabel("wavelength (nm)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


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
    unit = normalised(np.asarray(features, np.float64))
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
    """Draw points coloured by label, rows without one in grey.

    Args:
        points: Shape ``(N, 2)``.
        labels: Label of each row.
        title: What the axes are.
    """
    names = sorted({label for label in labels if label is not None})
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    known = np.asarray([label is not None for label in labels])
    if not known.all():
        axes.scatter(
            points[~known, 0], points[~known, 1], s=12, color="0.8", lw=0, label="no label"
        )
    for i, name in enumerate(names):
        rows = np.asarray([label == name for label in labels])
        colour = colormaps["tab10" if len(names) <= 10 else "tab20"](i % 20)
        marker = "os^D"[i // 20 % 4]
        axes.scatter(
            points[rows, 0], points[rows, 1], s=18, color=colour, marker=marker, lw=0, label=name
        )
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    if len(names) <= 40:
        figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    return figure
