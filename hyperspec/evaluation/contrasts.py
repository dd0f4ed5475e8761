"""Contrasts between labels for the receptors of an eye, in just-noticeable differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
DRAWS = 1000  # bootstrap resamples: the ends of an interval are then good to about 0.1 of its width


def chromatic_contrast(one: ArrayLike, other: ArrayLike, noise: ArrayLike) -> Floats:
    """Return the chromatic contrast of two stimuli in just-noticeable differences.

    With f the logarithm of the ratio of catches, the contrast squared is the sum of
    ``((f - c) / noise)^2`` over the receptors at the shared shift c that makes it least: what is
    left once brightness is taken away. For two, three and four receptors that is the closed form of
    the paper (eqs. 3 to 5); it holds for any number.

    Args:
        one: Catches of each receptor, above 0, shape ``(..., n)``.
        other: The same of the other stimulus.
        noise: Standard deviation of each receptor's signal relative to it, ``(n,)``, above 0.

    Returns:
        Shape ``(...)``; 0 for a single receptor.

    Source: Vorobyev, Osorio 1998, "Receptor noise as a determinant of colour thresholds".
    """
    ratio = np.log(np.asarray(one, np.float64) / np.asarray(other, np.float64))
    weight = np.asarray(noise, np.float64) ** -2
    shift = (ratio * weight).sum(-1, keepdims=True) / weight.sum()
    return np.asarray(np.sqrt((weight * (ratio - shift) ** 2).sum(-1)))


def achromatic_contrast(one: ArrayLike, other: ArrayLike, weber: float) -> Floats:
    """Return the contrast of brightness in just-noticeable differences.

    Catches of the receptor of brightness, above 0, of any shape; ``weber`` is its Weber fraction.

    Source: Siddiqi, Cronin, Loew, Vorobyev, Summers 2004, "Interspecific and intraspecific views of
        color signals in the strawberry poison frog", eq. 7.
    """
    ratio = np.log(np.asarray(one, np.float64) / np.asarray(other, np.float64))
    return np.asarray(np.abs(ratio) / weber)


def contrast_table(
    catches: Mapping[str, ArrayLike],
    noise: ArrayLike,
    bright: Mapping[str, ArrayLike] | None = None,
    bright_noise: float = 0.1,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Return one row per pair of labels: the contrast of their mean catches, with its interval.

    The 95% interval is that of bootstrap resamples of specimens within labels. Two samples of one
    and the same label are some way apart too, so an interval never reaches 0: it is read against
    1 JND, the threshold.

    Args:
        catches: Catches of each specimen by label, ``(specimens, n)``, above 0.
        noise: Of each receptor, ``(n,)``.
        bright: Catches of the receptor of brightness by label, ``(specimens,)``; None without one.
        bright_noise: Its Weber fraction.
        seed: Seed of the resamples.

    Source of the interval: Maia, White 2018, "Comparing colors using visual models".
    """
    rng = np.random.default_rng(seed)
    rows = {
        label: np.concatenate(
            [
                np.arange(len(np.asarray(values)))[None],  # the specimens themselves come first
                rng.integers(len(np.asarray(values)), size=(DRAWS, len(np.asarray(values)))),
            ]
        )
        if len(np.asarray(values)) > 1
        else np.zeros((1, 1), int)
        for label, values in catches.items()
    }
    means = {label: np.asarray(values)[rows[label]].mean(1) for label, values in catches.items()}
    lights = {
        label: np.asarray(values)[rows[label]].mean(1) for label, values in (bright or {}).items()
    }
    found = []
    for one, other in combinations(catches, 2):
        row: dict[str, object] = {"label_a": one, "label_b": other}
        row |= _described("chromatic", chromatic_contrast(*_pair(means, one, other), noise))
        if lights:
            pair = _pair(lights, one, other)
            row |= _described("achromatic", achromatic_contrast(*pair, bright_noise))
        row |= {
            "specimens_a": len(np.asarray(catches[one])),
            "specimens_b": len(np.asarray(catches[other])),
        }
        found.append(row)
    return pd.DataFrame(found)


def _pair(means: Mapping[str, Floats], one: str, other: str) -> tuple[Floats, Floats]:
    first, second = means[one], means[other]
    # A label of one specimen has no resamples: its one mean stands beside those of the other.
    count = max(len(first), len(second))
    return tuple(  # type: ignore[return-value]
        np.broadcast_to(part, (count, *part.shape[1:])) if len(part) == 1 else part
        for part in (first, second)
    )


def _described(name: str, values: Floats) -> dict[str, float]:
    drawn = values[1:]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return {f"{name}_jnd": float(values[0]), f"{name}_low": float(low), f"{name}_high": float(high)}


def write_contrasts(table: pd.DataFrame, folder: Path, title: str) -> tuple[Path, Path]:
    """Write ``contrasts.csv`` and ``contrasts.png``, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "contrasts.csv", folder / "contrasts.png"
    table.to_csv(paths[0], index=False, float_format="%.6g")
    draw_contrasts(table, title).savefig(paths[1], dpi=150, metadata={"Software": None})
    return paths


def draw_contrasts(table: pd.DataFrame, title: str) -> Figure:
    """Draw the contrasts of :func:`contrast_table` as a matrix each, chromatic and achromatic."""
    labels = list(dict.fromkeys([*table.label_a, *table.label_b]))
    kinds = [kind for kind in ("chromatic", "achromatic") if f"{kind}_jnd" in table]
    side = 1.6 + 0.45 * len(labels)
    figure = Figure(figsize=(1.5 + side * len(kinds), side + 0.8), layout="constrained")
    grid = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, kind in zip(grid, kinds, strict=True):
        _draw_matrix(axes, table, labels, kind)
        if axes is not grid[0]:
            axes.set_yticklabels([])
    figure.suptitle(title, fontsize=9)
    return figure


def _draw_matrix(axes: Axes, table: pd.DataFrame, labels: Sequence[str], kind: str) -> None:
    values = np.full((len(labels), len(labels)), np.nan)
    for row in table.to_dict("records"):
        a, b = labels.index(row["label_a"]), labels.index(row["label_b"])
        values[a, b] = values[b, a] = row[f"{kind}_jnd"]
    # Below one JND nothing is seen, so the scale starts there.
    axes.imshow(values, cmap="viridis", vmin=1, vmax=max(float(np.nanmax(values)), 2))
    middle = (1 + max(float(np.nanmax(values)), 2)) / 2
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "black" if value > middle else "white"
            text = f"{value:.1f}" if value < 99.5 else f"{value:.0f}"
            weight = "normal" if value >= 1 else "bold"
            axes.text(
                column, row, text, ha="center", va="center", size=7, color=colour, weight=weight
            )
    places = np.arange(len(labels))
    axes.set_xticks(places, labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    axes.set_yticks(places, labels, fontsize=7)
    axes.set_title(f"{kind} contrast (JND)", fontsize=9)
    axes.spines[:].set_visible(False)
