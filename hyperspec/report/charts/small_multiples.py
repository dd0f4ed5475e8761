"""Every strategy by itself, over all others in grey: where one picture of all is a thicket."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from hyperspec.evaluation.metrics import Metric
from hyperspec.report.charts.accuracy import (
    best_per_count,
    by_fame,
    draw_muted,
    draw_strategy,
    muted,
)
from hyperspec.report.charts.figure import Chart, new_figure
from hyperspec.report.charts.style import NARROW, clean, label_axis, looks
from hyperspec.report.summary import Summary

_COLUMNS = 3  # panels beside each other


def charts(summary: Summary) -> tuple[Chart, ...]:
    """Return a chart per accuracy; none where the picture of all shows every strategy in colour."""
    scores: list[Metric | None] = [*summary.accuracies] or [None]
    return tuple(_chart(summary, score) for score in scores) if muted(summary) else ()


def _chart(summary: Summary, score: Metric | None) -> Chart:
    what = f"{summary.part} {score.title} accuracy" if score else summary.objective_name
    alt = f"The same {what} as small charts, one per strategy, over the grey lines of all others."
    name = score.key if score else "objective"
    return Chart(f"strategies-{name}", alt, draw(summary, score))


def draw(summary: Summary, score: Metric | None) -> Figure:
    """Draw one small panel per strategy, over those of all others in grey.

    Args:
        summary: The points.
        score: An accuracy; None draws the objective.
    """
    points, seen = best_per_count(summary), looks(p.strategy for p in summary.points)
    curves = {s: [p for p in points if p.strategy == s] for s in sorted(seen, key=by_fame)}
    num_rows = math.ceil(len(curves) / _COLUMNS)
    figure = new_figure(NARROW, 0.7 + 1.25 * num_rows)
    axes = figure.subplots(num_rows, _COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    counts = sorted({p.n for p in points})
    for ax, (strategy, own) in zip(axes, curves.items(), strict=False):
        for other in curves.values():
            draw_muted(ax, other, score)
        draw_strategy(ax, own, score, seen[strategy], size=4.0)
        ax.set_title(strategy, fontsize=8.5, pad=3)
        ax.set_xscale("log")
        label_axis(ax, [counts[0], counts[-1]])
        clean(ax)
        ax.tick_params(labelsize=8)
    for ax in axes[len(curves) :]:
        ax.set_axis_off()
    figure.supxlabel("number of bands (log scale)", fontsize=9)
    what = f"{summary.part} accuracy, {score.title}" if score else summary.objective_name
    figure.supylabel(what, fontsize=9)
    return figure
