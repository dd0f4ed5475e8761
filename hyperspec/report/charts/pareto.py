"""What nothing beats: settings for which more of one thing costs some of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from hyperspec.evaluation.metrics import NUM_BANDS, natural_direction
from hyperspec.evaluation.statistics.variance import MIN_SEEDS, Floats
from hyperspec.report.charts.figure import Chart, Section, listed, new_axes
from hyperspec.report.charts.parameters import label, less_is_better, metric, objective
from hyperspec.report.charts.style import (
    NARROW,
    NEUTRAL,
    clean,
    first_upper,
    label_axis,
    legend_below,
    looks,
    value_text,
    words,
)
from hyperspec.report.load import SweepData
from hyperspec.report.summary import Summary, setting_text
from hyperspec.report.tables import Grid, number

_COSTS = (NUM_BANDS, "cost/train_seconds", "cost/peak_memory_mb")
_MEASURED = "cost/"
_STEP = math.log(1.1)
"""Measured costs are compared in steps of 10%: below, a busy machine makes the difference."""
_FEWEST = 3
_MOST_ROWS = 40
_TOLD = 12


@dataclass(frozen=True, eq=False)
class Goal:
    """One thing that settings are judged by.

    Args:
        name: Metric, or ``bands.n``.
        values: Value of each point, ``(N,)``.
        more_is_better: Which way is better.
    """

    name: str
    values: Floats
    more_is_better: bool

    @property
    def ranks(self) -> Floats:
        """The values as they are compared: less is better, steps of 10% for measured costs."""
        values = self.values
        if self.name.startswith(_MEASURED):
            values = np.round(np.log(np.maximum(values, 1e-12)) / _STEP)
        return -values if self.more_is_better else values


def section(data: SweepData, summary: Summary) -> Section | None:
    """Return the front, or None where all settings cost the same or are too few."""
    goals = find_goals(data, summary)
    if len(goals) < 2:
        return None
    values = np.column_stack([goal.values for goal in goals])
    rows = np.flatnonzero(np.isfinite(values).all(axis=1))
    if len(rows) < _FEWEST:
        return None
    best: NDArray[np.bool_] = np.zeros(len(values), dtype=np.bool_)
    best[rows] = front(np.column_stack([goal.ranks for goal in goals])[rows])
    charts = tuple(
        _chart(summary, goals[0], goal, rows, best, place)
        for place, goal in enumerate(goals[1:], 1)
    )
    weighed = ", ".join(words(goal.name) for goal in goals[:-1]) + f" and {words(goals[-1].name)}"
    intro = (
        f"Weighed together: {weighed}. Filled marks are on the front: no other setting is as good "
        "in all of these and better in one. Hollow marks are beaten. The grey line joins what is "
        "beaten by none in the two things of its chart alone."
    )
    measured = any(goal.name.startswith(_MEASURED) for goal in goals)
    notes = ["Measured costs count as different from 10% on."] if measured else []
    title = f"What does accuracy cost? {best.sum()} of {len(rows)} settings are beaten by none"
    if summary.num_seeds < MIN_SEEDS:
        seeds = "one seed" if summary.num_seeds == 1 else f"{summary.num_seeds} seeds"
        title = f"What does accuracy cost? {best.sum()} of {len(rows)} settings are candidates"
        notes.append(
            f"Of {seeds}, so that chance decides which settings lie on the front: they are "
            f"candidates, no winners. {MIN_SEEDS} seeds are the least to compare by."
        )
    return Section("pareto", title, intro, charts, (_table(summary, goals, best),), " ".join(notes))


def find_goals(data: SweepData, summary: Summary) -> list[Goal]:
    """Return what settings are weighed by: a study's own objectives, else accuracy and costs.

    Things that are the same for all settings are left out.
    """
    first = Goal(summary.objective_name, objective(summary), not less_is_better(summary))
    others = [
        Goal(name, _values(data, summary, name), natural_direction(name) == "maximize")
        for name in _own_objectives(data) or _COSTS
        if name != first.name
    ]
    found = [first, *others]
    return [goal for goal in found if len(np.unique(goal.ranks[np.isfinite(goal.ranks)])) > 1]


def front(costs: Floats) -> NDArray[np.bool_]:
    """Return which rows no other row dominates.

    Args:
        costs: What is to be small, ``(N, D)``. A row dominates another when it is nowhere larger
            and somewhere smaller; equal rows do not dominate each other.
    """
    kept: NDArray[np.bool_] = np.ones(len(costs), dtype=np.bool_)
    for row, own in enumerate(costs):
        kept[row] = not ((costs <= own).all(1) & (costs < own).any(1)).any()
    return kept


def _own_objectives(data: SweepData) -> tuple[str, ...]:
    """Return the objectives of a search with several, as its jobs noted them."""
    if "objectives" not in data.finished:
        return ()
    noted = {text for text in data.finished["objectives"] if text}
    return tuple(noted.pop().split(",")) if len(noted) == 1 else ()


def _values(data: SweepData, summary: Summary, name: str) -> Floats:
    if name == NUM_BANDS:
        return np.array([float(point.n) if point.n else math.nan for point in summary.points])
    return metric(data, summary, name)


def _chart(
    summary: Summary,
    first: Goal,
    other: Goal,
    rows: NDArray[np.intp],
    best: NDArray[np.bool_],
    place: int,
) -> Chart:
    figure, ax = new_axes(NARROW, 4.4)
    pair = front(np.column_stack([first.ranks, other.ranks])[rows])
    _stairs(ax, other.values[rows][pair], first.values[rows][pair], other.more_is_better)
    seen = looks(point.strategy for point in summary.points)
    strategies = np.array([point.strategy for point in summary.points])
    for strategy, look in seen.items():
        for chosen, filled in ((~best, False), (best, True)):
            own = [row for row in rows if chosen[row] and strategies[row] == strategy]
            ax.plot(
                other.values[own],
                first.values[own],
                ls="none",
                marker=look.marker,
                ms=8 if filled else 6,
                color=look.colour,
                mfc=look.colour if filled else "none",
                mec="#222222" if filled else look.colour,
                mew=0.6 if filled else 1.2,
                alpha=1.0 if filled else 0.55,
                zorder=3 if filled else 2,
            )
    label_axis(ax, other.values[rows].tolist())
    ax.set_xlabel(f"{words(other.name)}, {'more' if other.more_is_better else 'less'} is better")
    ax.set_ylabel(words(first.name))
    ax.grid(color="#e4e4e4", lw=0.7)
    clean(ax)
    if len(seen) > 1:
        for strategy, look in seen.items():  # each once, whichever of its marks the chart shows
            ax.plot([], [], ls="none", marker=look.marker, color=look.colour, label=strategy)
        legend_below(figure, *ax.get_legend_handles_labels())
    return Chart(f"pareto-{place}", _alt(summary, first, other, rows[pair]), figure)


def _alt(summary: Summary, first: Goal, other: Goal, members: NDArray[np.intp]) -> str:
    order = members[np.argsort(other.values[members])]
    told = [
        f"{label(summary.points[i])}: {value_text(other.values[i])} for {first.values[i]:.3f}"
        for i in order
    ]
    pair = f"{first_upper(words(first.name))} against {words(other.name)}"
    return f"{pair}. Beaten by none in these two: {listed(told, _TOLD)}."


def _stairs(ax: Axes, x: Floats, y: Floats, more: bool) -> None:
    order = np.argsort(x)
    how = "steps-pre" if more else "steps-post"  # between two members the worse of both holds
    ax.plot(x[order], y[order], color=NEUTRAL, lw=1.5, drawstyle=how, zorder=1)


def _table(summary: Summary, goals: Sequence[Goal], best: NDArray[np.bool_]) -> Grid:
    main = next(iter(summary.accuracies), None) if summary.part == "test" else None
    columns = ["strategy", "bands", *summary.extra_names]
    shown = [goal for goal in goals if goal.name != NUM_BANDS]
    columns += [words(goal.name) for goal in shown]
    columns += [f"test {main.title}"] if main else []
    order = sorted(np.flatnonzero(best).tolist(), key=lambda i: float(goals[0].ranks[i]))
    rows = []
    for i in order[:_MOST_ROWS]:
        point = summary.points[i]
        cells = [point.strategy, str(point.n)]
        cells += [setting_text(point.extra.get(name, "-")) for name in summary.extra_names]
        cells += [
            value_text(goal.values[i]) if place else number(goal.values[i])
            for place, goal in enumerate(shown)
        ]
        if main:
            score = point.scores.get(main.key)
            cells.append(number(score.mean) if score else "-")
        rows.append(tuple(cells))
    more = f" (first {_MOST_ROWS} of {len(order)})" if len(order) > _MOST_ROWS else ""
    return Grid(f"Settings on the front{more}", tuple(columns), tuple(rows), num_text=1)
