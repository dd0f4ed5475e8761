"""How training went: loss and validation score over optimizer steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from hyperspec.evaluation.metrics import columns, main_accuracy
from hyperspec.evaluation.statistics.variance import Floats
from hyperspec.report.charts.accuracy import best_per_count
from hyperspec.report.charts.figure import Chart, Section, listed, new_axes
from hyperspec.report.charts.parameters import label
from hyperspec.report.charts.style import (
    NARROW,
    NEUTRAL,
    clean,
    first_upper,
    legend_below,
    looks,
    shade,
    spread,
    words,
)
from hyperspec.report.load import SweepData
from hyperspec.report.summary import Point, Summary

_MOST_SETTINGS = 7
_MOST_SEEDS = 5
_MOST_PRUNED = 10
_MOST_STEPS = 400  # points of a curve that a picture can show


@dataclass(frozen=True, eq=False)
class Curve:
    """The curve of one setting, or of one job that a search stopped.

    Args:
        name: The setting in words.
        colour: Its colour.
        line: Its line style.
        runs: For each seed steps and values, ``(2, T)``.
    """

    name: str
    colour: str
    line: str
    runs: tuple[Floats, ...]

    @property
    def mean(self) -> Floats:
        """Mean over seeds at the steps that all have, ``(2, T)``; empty where they share none."""
        if len(self.runs) == 1:
            return self.runs[0]
        shared = self.runs[0][0]
        for run in self.runs[1:]:
            shared = shared[np.isin(shared, run[0])]
        values = [run[1][np.isin(run[0], shared)] for run in self.runs]
        return np.stack([shared, np.mean(values, axis=0)])


def section(data: SweepData, summary: Summary) -> Section | None:
    """Return the curves of the best settings, or None where no metric has a history."""
    points = _chosen(summary)
    stopped = [str(run) for run in data.pruned["run_id"][:_MOST_PRUNED]]
    charts = []
    scored = [main_accuracy(), *(row for row in columns() if not row.is_accuracy)]
    for place, metric in enumerate(["train/loss", *(f"val/{row.name}" for row in scored)], 1):
        if f"metrics.{metric}" not in data.jobs:
            continue
        curves = _curves(data, summary, points, metric)
        curves += _stopped(data, stopped, metric)
        if curves:
            charts.append(_chart(curves, metric, place))
    if not charts:
        return None
    num = len({point.strategy for point in summary.points})
    which = "the best setting of each strategy" if num > 1 else "settings from best to worst"
    if num > _MOST_SETTINGS:
        which = f"the best settings of the {_MOST_SETTINGS} best strategies"
    intro = (
        f"Shown: {which}, by the validation score. Bold lines are means over seeds, thin ones "
        "single seeds. A loss that still falls at the end asks for more epochs."
    )
    if stopped:
        intro += " Grey: jobs that the search stopped early."
    return Section("curves", "Had training come to an end?", intro, tuple(charts))


def _chosen(summary: Summary) -> list[Point]:
    """Return the best point of each strategy, or, of one strategy, points spread over its range."""
    first: dict[str, Point] = {}
    for point in summary.points:
        first.setdefault(point.strategy, point)
    if len(first) > 1:
        return list(first.values())[:_MOST_SETTINGS]
    counts = best_per_count(summary)
    every = counts if len(counts) > 1 else list(summary.points)
    return [every[place] for place in spread(len(every), _MOST_SETTINGS)]


def _curves(data: SweepData, summary: Summary, points: Sequence[Point], metric: str) -> list[Curve]:
    seen = looks(point.strategy for point in summary.points)
    found = []
    for place, point in enumerate(points):
        runs = _histories(data, point.run_ids[:_MOST_SEEDS], metric)
        if not runs:
            continue
        look = seen[point.strategy]
        colour = shade(place, len(points)) if len(seen) == 1 else look.colour
        found.append(Curve(label(point), colour, look.line, runs))
    return found


def _stopped(data: SweepData, run_ids: Sequence[str], metric: str) -> list[Curve]:
    found = (_histories(data, [run], metric) for run in run_ids)
    return [Curve("", NEUTRAL, "-", runs) for runs in found if runs]


def _histories(data: SweepData, run_ids: Sequence[str], metric: str) -> tuple[Floats, ...]:
    histories = (data.history(run_id, metric) for run_id in run_ids)
    return tuple(h[:, spread(h.shape[1], _MOST_STEPS)] for h in histories if h.shape[1] > 1)


def _chart(curves: Sequence[Curve], metric: str, place: int) -> Chart:
    figure, ax = new_axes(NARROW, 4.4)
    for curve in curves:
        _draw(ax, curve)
    ax.set(xlabel="optimizer steps", ylabel=words(metric))
    ax.grid(axis="y", color="#e4e4e4", lw=0.7)
    clean(ax)
    legend_below(figure, *ax.get_legend_handles_labels())
    told = [
        f"{curve.name}: {mean[1, 0]:.3g} to {mean[1, -1]:.3g}"
        for curve in curves
        if curve.name and (mean := curve.mean).shape[1]
    ]
    num_stopped = sum(not curve.name for curve in curves)
    alt = f"{first_upper(words(metric))} over optimizer steps, first to last. {listed(told, 12)}."
    if num_stopped:
        alt += f" {num_stopped} jobs stopped early."
    return Chart(f"curves-{place}", alt, figure)


def _draw(ax: Axes, curve: Curve) -> None:
    if not curve.name or len(curve.runs) > 1:
        for steps, values in curve.runs:
            ax.plot(steps, values, color=curve.colour, lw=0.7, alpha=0.45, ls=curve.line)
    mean = curve.mean
    if curve.name and mean.shape[1]:
        ax.plot(*mean, color=curve.colour, lw=2, ls=curve.line, label=curve.name)
