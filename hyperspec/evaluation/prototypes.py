"""Class prototypes: where each label lies among the embeddings, how spread, and next to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hyperspec.evaluation.embeddings import normalised, specimen_means
from hyperspec.evaluation.pictures import new_axes


@dataclass(frozen=True, eq=False)
class Prototype:
    """The mean embedding of one label.

    Args:
        label: The label.
        num_specimens: Specimens behind it; several views of one are averaged first.
        centre: Mean of the specimens' embeddings at unit length, itself at unit length, ``(F,)``.
        spread: Mean cosine distance of the specimens from it, 0 to 2.
        nearest: The other label whose prototype is nearest; "" when there is no other.
        distance: Cosine distance to that prototype, 0 to 2; NaN when there is no other.
    """

    label: str
    num_specimens: int
    centre: NDArray[np.float64]
    spread: float
    nearest: str
    distance: float


def class_prototypes(
    features: ArrayLike, labels: Sequence[str | None], specimens: Sequence[str]
) -> list[Prototype]:
    """Return the prototype of each label, in order of name.

    Args:
        features: Features of the backbone, ``(N, F)``; taken at unit length.
        labels: Label of each row; rows with None are left out.
        specimens: Unique specimen key of each row.

    Raises:
        ValueError: If lengths differ.
    """
    animals = specimen_means(normalised(features), labels, specimens, what="features")
    names = list(animals)
    if not names:
        return []
    centres = normalised(np.stack([animals[name].mean(0) for name in names]))
    distances = 1 - centres @ centres.T
    np.fill_diagonal(distances, np.inf)
    found = []
    for i, name in enumerate(names):
        other = int(distances[i].argmin())
        alone = len(names) == 1
        found.append(
            Prototype(
                name,
                len(animals[name]),
                centres[i],
                float(np.mean(1 - normalised(animals[name]) @ centres[i])),
                "" if alone else names[other],
                float("nan") if alone else float(distances[i, other]),
            )
        )
    return found


def prototype_table(prototypes: Sequence[Prototype]) -> pd.DataFrame:
    """Return a row per label: label, num_specimens, spread, nearest, distance, separation.

    Separation is the distance to the nearest other prototype over the own spread: below about 1 the
    two labels lie in each other.
    """
    columns = ["label", "num_specimens", "spread", "nearest", "distance"]
    table = pd.DataFrame([vars(one) for one in prototypes], columns=columns)
    spread = table["spread"].where(table["spread"] > 0)
    return table.assign(separation=table["distance"] / spread)


def draw_prototypes(prototypes: Sequence[Prototype]) -> Figure:
    """Draw cosine distances between prototypes as a matrix, each label's spread on the diagonal."""
    names = [f"{one.label} ({one.num_specimens})" for one in prototypes]
    centres = np.stack([one.centre for one in prototypes])
    values = 1 - centres @ centres.T
    np.fill_diagonal(values, [one.spread for one in prototypes])
    side = 2.2 + 0.45 * len(names)
    figure, axes = new_axes(side + 1.6, side)
    image = axes.imshow(values, cmap="viridis_r", vmin=0)
    if len(names) <= 20:
        middle = np.nanmax(values) / 2
        for y, x in np.ndindex(*values.shape):
            colour = "white" if values[y, x] > middle else "black"
            text = f"{values[y, x]:.2f}"
            axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=6)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_title("cosine distance of prototypes; diagonal: own spread", fontsize=8, loc="left")
    figure.colorbar(image, shrink=0.7)
    return figure
