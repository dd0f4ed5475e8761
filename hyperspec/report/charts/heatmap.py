"""Two settings against each other: a map of the objective, one panel per value of a third."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hyperspec.evaluation.statistics.variance import Floats
from hyperspec.report.charts.figure import Chart, Section, listed, new_axes
from hyperspec.report.charts.parameters import (
    NUM_BANDS,
    STRATEGY,
    Column,
    columns,
    less_is_better,
    numeric,
    objective,
)
from hyperspec.report.charts.style import (
    ACCENT,
    NARROW,
    clean,
    darker_is_better,
    first_upper,
    label_axis,
    value_text,
    words,
)
from hyperspec.report.summary import Summary

_MOST_PANELS = 6
_MOST_WRITTEN = 8  # cells per side that have room for their number
_FILLED = 0.4  # share of the grid's cells that holds a point; below, the values were drawn freely
_TOLD = 24


@dataclass(frozen=True, eq=False)
class _Panel:
    title: str
    rows: NDArray[np.intp]
    """Numbers of the points that belong to it."""


@dataclass(frozen=True, eq=False)
class _Scale:
    low: float
    high: float
    colours: Colormap

    def of(self, value: float) -> tuple[float, float, float, float]:
        span = self.high - self.low
        found = self.colours((value - self.low) / span if span > 0 else 1.0)
        return found[0], found[1], found[2], found[3]


def section(summary: Summary) -> Section | None:
    """Return the map of two varied numbers, or None when fewer than two vary."""
    known = np.isfinite(objective(summary))
    found = columns(summary)
    keys = numeric(found)
    if len(keys) < 2 or known.sum() < 4:
        return None
    x, y = found[keys[0]], found[keys[1]]
    is_grid = _is_grid(x, y, known)
    facet = _facet(found, keys) if is_grid else None
    panels = _panels(facet, known)
    values = objective(summary)
    low, high = float(values[known].min()), float(values[known].max())
    colours = darker_is_better()
    scale = _Scale(low, high, colours.reversed() if less_is_better(summary) else colours)
    charts = tuple(
        _chart(summary, (x, y), panel, scale, place, is_grid)
        for place, panel in enumerate(panels, 1)
    )
    averaged = [c.label for c in found.values() if c not in (x, y, facet)]
    over = f" and {', '.join(averaged)}" if averaged else ""
    each = f"Each value is a mean over seeds{over}." if is_grid else "Each dot is one setting."
    intro = (
        f"{first_upper(words(summary.objective_name))} over {x.label} (across) and {y.label} "
        f"(upwards), where settings may be chosen. {each} Darker "
        "is better, on one scale for all maps; the best of each map is marked."
    )
    title = f"Which {x.label} and {y.label}? {_finding(summary, x, y)}"
    return Section("heat", title, intro, charts)


def _finding(summary: Summary, x: Column, y: Column) -> str:
    values = objective(summary)
    best = int(np.nanargmin(values) if less_is_better(summary) else np.nanargmax(values))
    assert x.numbers is not None
    assert y.numbers is not None
    at = f"{value_text(float(x.numbers[best]))} and {value_text(float(y.numbers[best]))}"
    return f"Best seen at {at} ({values[best]:.3f})"


def _is_grid(x: Column, y: Column, known: NDArray[np.bool_]) -> bool:
    """Say whether the values tried form a grid; those of a search are drawn freely."""
    pairs = {
        pair for pair, seen in zip(zip(x.texts, y.texts, strict=True), known, strict=True) if seen
    }
    size = len({a for a, _ in pairs}) * len({b for _, b in pairs})
    return len(pairs) >= _FILLED * size


def _facet(found: dict[str, Column], keys: Sequence[str]) -> Column | None:
    kept = [key for key in (NUM_BANDS, STRATEGY, *keys[2:]) if key in found and key not in keys[:2]]
    few = (found[key] for key in kept if found[key].num_values <= _MOST_PANELS)
    return next(few, None)


def _panels(facet: Column | None, known: NDArray[np.bool_]) -> list[_Panel]:
    if facet is None:
        return [_Panel("", np.flatnonzero(known))]
    numbers = facet.numbers
    names = sorted(set(facet.texts), key=lambda t: float(t) if numbers is not None else t)
    texts = np.array(facet.texts)
    found = []
    for name in names:
        title = f"{facet.label}: {name}" if facet.name != NUM_BANDS else f"{name} bands"
        found.append(_Panel(title, np.flatnonzero(known & (texts == name))))
    return [panel for panel in found if len(panel.rows)]


def _chart(
    summary: Summary,
    axes: tuple[Column, Column],
    panel: _Panel,
    scale: _Scale,
    place: int,
    is_grid: bool,
) -> Chart:
    x, y = axes
    assert x.numbers is not None
    assert y.numbers is not None
    values = objective(summary)[panel.rows]
    across, upwards = x.numbers[panel.rows], y.numbers[panel.rows]
    figure, ax = new_axes(NARROW, 3.6)
    cells = _cells(across, upwards, values)
    order = sorted(cells, key=cells.__getitem__, reverse=not less_is_better(summary))
    if is_grid:
        _grid(ax, cells, order[0], scale)
    else:
        _scatter(ax, across, upwards, values, scale, less_is_better(summary))
    ax.set(xlabel=x.label, ylabel=y.label)
    ax.set_title(panel.title or f"darker is better: {scale.low:.2f} to {scale.high:.2f}", size=10)
    _bar(ax, scale, words(summary.objective_name))
    told = [
        f"{x.label} {value_text(a)}, {y.label} {value_text(b)}: {cells[a, b]:.3f}" for a, b in order
    ]
    about = f" at {panel.title}" if panel.title else ""
    alt = (
        f"Map of {words(summary.objective_name)} by {x.label} and {y.label}{about}, "
        f"best first. {listed(told, _TOLD)}."
    )
    return Chart(f"heat-{place}", alt, figure)


def _cells(x: Floats, y: Floats, values: Floats) -> dict[tuple[float, float], float]:
    found: dict[tuple[float, float], list[float]] = {}
    for a, b, value in zip(x.tolist(), y.tolist(), values.tolist(), strict=True):
        found.setdefault((a, b), []).append(value)
    return {cell: float(np.mean(some)) for cell, some in found.items()}


def _grid(
    ax: Axes, cells: dict[tuple[float, float], float], best: tuple[float, float], scale: _Scale
) -> None:
    xs, ys = (sorted({cell[side] for cell in cells}) for side in (0, 1))
    table = np.full((len(ys), len(xs), 4), 0.94)  # light grey where no job has finished
    written = len(xs) <= _MOST_WRITTEN and len(ys) <= 2 * _MOST_WRITTEN
    for (a, b), value in cells.items():
        column, row = xs.index(a), ys.index(b)
        table[row, column] = scale.of(value)
        if written:
            light = float(table[row, column, :3] @ (0.2126, 0.7152, 0.0722)) > 0.45
            ink = "black" if light else "white"
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, size=9)
    ax.imshow(table, origin="lower", aspect="auto", interpolation="nearest")
    corner = (xs.index(best[0]) - 0.5, ys.index(best[1]) - 0.5)
    ax.add_patch(Rectangle(corner, 1, 1, fill=False, ec=ACCENT, lw=2.5, clip_on=False, zorder=3))
    ax.set_xticks(*_ticks(xs))
    ax.set_yticks(*_ticks(ys))
    ax.tick_params(labelsize=9, length=0)


def _ticks(values: list[float]) -> tuple[list[int], list[str]]:
    step = max(1, -(-len(values) // 8))
    places = list(range(0, len(values), step))
    return places, [value_text(values[place]) for place in places]


def _scatter(ax: Axes, x: Floats, y: Floats, values: Floats, scale: _Scale, lower: bool) -> None:
    """Draw freely drawn values, as a search has them, where they lie."""
    order = np.argsort(-values if lower else values)  # the best on top
    shades = [scale.of(value) for value in values[order].tolist()]
    ax.scatter(x[order], y[order], c=shades, s=34, edgecolors="#666666", linewidths=0.4)
    ax.scatter(x[order[-1:]], y[order[-1:]], s=130, fc="none", ec=ACCENT, lw=2)
    for axis, numbers in (("x", x), ("y", y)):
        label_axis(ax, numbers.tolist(), axis)
    clean(ax)


def _bar(ax: Axes, scale: _Scale, name: str) -> None:
    mappable = ScalarMappable(Normalize(scale.low, scale.high), scale.colours)
    bar = ax.figure.colorbar(mappable, ax=ax, pad=0.02, aspect=30)
    bar.set_label(name, size=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
