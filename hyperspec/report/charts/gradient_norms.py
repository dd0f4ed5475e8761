"""Where in the network the gradient is, over the number of bands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hyperspec.evaluation.statistics.variance import Floats
from hyperspec.report.charts.figure import Chart, Section, listed, new_axes
from hyperspec.report.charts.parameters import metric
from hyperspec.report.charts.style import (
    NARROW,
    clean,
    label_axis,
    legend_below,
    shade,
)
from hyperspec.report.load import SweepData
from hyperspec.report.summary import Summary
from hyperspec.tracking.contract import MetricName

_PREFIX = f"metrics.{MetricName.GRAD_NORM_OF}"
_FIRST, _LAST = ("projection", "stem"), ("cell_head", "head")
_MOST_SAID = 4


def section(data: SweepData, summary: Summary) -> Section | None:
    """Return the norms by stage over bands; None without them, or with one number of bands."""
    found = norms(data, summary)
    counts = sorted({int(n) for curve in found.values() for n in curve[0]})
    if len(counts) < 2:
        return None
    intro = (
        "Norm of the gradient by stage of the network, before clipping, at the last step that was "
        "logged; mean over all jobs with so many bands. From light to dark: from the bands to the "
        "heads. A stage that falls far behind the others as bands are added learns least from them."
    )
    return Section(
        "gradients", "Which part of the network learns?", intro, (_chart(found, counts),)
    )


def norms(data: SweepData, summary: Summary) -> Mapping[str, Floats]:
    """Return for each stage numbers of bands and mean norms, ``(2, counts)``, in network order."""
    stages = sorted(
        (str(name).removeprefix(_PREFIX) for name in data.jobs if str(name).startswith(_PREFIX)),
        key=_place,
    )
    counts = np.array([point.n or 0 for point in summary.points])
    found = {}
    for stage in stages:
        values = metric(data, summary, MetricName.GRAD_NORM_OF.of(stage))
        known = np.isfinite(values) & (counts > 0)
        at = np.unique(counts[known])
        means = [values[known & (counts == n)].mean() for n in at]
        if at.size:
            found[stage] = np.stack([at.astype(np.float64), np.array(means)])
    return found


def _place(stage: str) -> tuple[int, int, str]:
    middle = len(_FIRST)
    place = _FIRST.index(stage) if stage in _FIRST else middle
    place = middle + 1 + _LAST.index(stage) if stage in _LAST else place
    digits = "".join(letter for letter in stage if letter.isdigit())
    return place, int(digits or 0), stage


def _chart(found: Mapping[str, Floats], counts: list[int]) -> Chart:
    figure, ax = new_axes(NARROW, 3.4)
    for place, (stage, (at, values)) in enumerate(found.items()):
        colour = shade(place, len(found))
        ax.plot(at, values, marker="o", markersize=3, color=colour, label=stage)
    ax.set_yscale("log")
    label_axis(ax, [float(count) for count in counts])
    ax.set(xlabel="number of bands", ylabel="norm of the gradient")
    legend_below(figure, *ax.get_legend_handles_labels())
    clean(ax)
    said = [
        f"{stage}: {values[0]:.3g} at {at[0]:.0f} bands, {values[-1]:.3g} at {at[-1]:.0f}"
        for stage, (at, values) in found.items()
    ]
    alt = f"Gradient norm by stage over the number of bands. {listed(said, _MOST_SAID)}."
    return Chart("gradients", alt, figure)
