"""Every setting as one line through all axes. Axes lie, so that many fit a narrow screen."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from hyperspec.evaluation.statistics.variance import Floats
from hyperspec.report.charts.figure import Chart, Section, listed, new_axes
from hyperspec.report.charts.parameters import Column, columns, label, less_is_better, objective
from hyperspec.report.charts.style import (
    NARROW,
    darker_is_better,
    spans_decades,
    ticks,
    value_text,
    words,
)
from hyperspec.report.summary import Summary

_MOST_AXES = 8
_FEWEST = 4
_GAP = 0.13  # room of a label on an axis
_RASTER = 300  # lines from which a picture is smaller than their outlines
_TOLD = 5
_LONG = 50  # characters of all labels of an axis from which they are tilted
_MARGIN, _ROOM = 0.45, 1.5  # distance of the outermost axes to the edge, in distances of axes


def section(summary: Summary) -> Section | None:
    """Return the parallel coordinates, or None with fewer than two settings or four points."""
    known = np.isfinite(objective(summary))
    found = list(columns(summary).values())[:_MOST_AXES]
    if len(found) < 2 or known.sum() < _FEWEST:
        return None
    chart = _chart(summary, found, np.flatnonzero(known))
    intro = (
        "Each line is one setting, the mean over its seeds. Follow the dark lines, which score "
        "best, upwards from the bottom: where they bundle on an axis, that value goes with good "
        "scores; where they spread, the axis matters little."
    )
    return Section("parallel", "Which values go with good scores?", intro, (chart,))


def _chart(summary: Summary, found: list[Column], rows: np.ndarray) -> Chart:
    values = objective(summary)
    lower = less_is_better(summary)
    places = [_places(column) for column in found]
    scores = values[rows]
    low, high = float(scores.min()), float(scores.max())
    span = high - low if high > low else 1.0
    table = np.column_stack([*(place[rows] for place, _ in places), (scores - low) / span])
    top = _ROOM if _tilted(places[0][1]) else _MARGIN
    figure, ax = new_axes(NARROW, 0.4 + 0.78 * (table.shape[1] + top))
    _lines(ax, table, lower)
    for index, (column, (_, labels)) in enumerate(zip(found, places, strict=True)):
        _axis(ax, index, column.label, labels)
    marks = {low: 0.0, (low + high) / 2: 0.5, high: 1.0} if high > low else {low: 0.0}
    written = [(place, f"{value:.3f}") for value, place in marks.items()]
    _axis(ax, len(found), words(summary.objective_name), written)
    ax.set(xlim=(-0.06, 1.06), ylim=(len(found) + _MARGIN, -top))
    ax.set_axis_off()
    names = ", ".join(column.label for column in found)
    order = rows[np.argsort(scores if lower else -scores)]
    told = [f"{label(summary.points[i])}: {values[i]:.3f}" for i in order]
    alt = (
        f"{len(rows)} settings as lines over the axes {names} and "
        f"{words(summary.objective_name)} ({low:.3f} to {high:.3f}). Best: "
        f"{listed(told, _TOLD)}. Worst: {told[-1]}."
    )
    return Chart("parallel", alt, figure)


def _places(column: Column) -> tuple[Floats, list[tuple[float, str]]]:
    """Return where each point lies on an axis, 0 to 1, and the axis's labels."""
    numbers = column.numbers
    if numbers is None:
        names = sorted(set(column.texts))
        step = 1 / max(len(names) - 1, 1)
        at = {name: place * step for place, name in enumerate(names)}
        return np.array([at[text] for text in column.texts]), [(at[n], n) for n in names]
    scaled = np.log(numbers) if spans_decades(numbers.tolist()) else numbers
    span = float(np.ptp(scaled)) or 1.0
    shown = ticks(numbers.tolist(), _GAP)
    return (scaled - scaled.min()) / span, [(place, value_text(value)) for value, place in shown]


def _lines(ax: Axes, table: Floats, lower: bool) -> None:
    height = np.arange(table.shape[1])
    quality = 1 - table[:, -1] if lower else table[:, -1]
    order = np.argsort(quality)  # the best on top
    lines = LineCollection(
        [np.column_stack([table[row], height]) for row in order],
        colors=darker_is_better()(quality[order]),
        linewidths=0.6 + 1.6 * quality[order] ** 2,
        alpha=0.85,
        rasterized=len(order) > _RASTER,
    )
    ax.add_collection(lines)


def _tilted(labels: list[tuple[float, str]]) -> bool:
    return sum(len(text) for _, text in labels) > _LONG


def _axis(ax: Axes, index: int, name: str, labels: list[tuple[float, str]]) -> None:
    ax.plot([0, 1], [index, index], color="#333333", lw=1.2, zorder=3)
    # Many names stand steeply above the first axis, whose own name then goes below it.
    steep = _tilted(labels) and index == 0
    tilt = 60 if steep else 20 if _tilted(labels) else 0
    ax.text(0, index + (0.12 if steep else -0.14), name, ha="left", va="top" if steep else "bottom",
            size=9, weight="bold", zorder=5,
            bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 0.6})  # fmt: skip
    for place, text in labels:
        ax.plot([place, place], [index - 0.04, index + 0.04], color="#333333", lw=1.2, zorder=3)
        ax.text(place, index + (-0.08 if steep else 0.07), text, size=7.5 if tilt else 8.5,
                ha="left" if steep else "center", va="center" if steep else "top", zorder=5,
                bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 0.4},
                rotation=tilt, rotation_mode="anchor" if steep else "default")  # fmt: skip
