"""Gradient norms by stage over the number of bands."""

from __future__ import annotations

import math

import pytest
from test_charts import sweep

from hyperspec.report.charts import gradient_norms as gradients
from hyperspec.report.cohort_report import sections
from hyperspec.report.summary import summarise


def jobs(counts: tuple[float, ...]) -> list[dict[str, object]]:
    return [
        {
            "n": n,
            "seed": float(seed),
            "metrics.objective": 0.5,
            "metrics.grad_norm/head": 2.0,
            "metrics.grad_norm/layer2": n + seed,
            "metrics.grad_norm/layer10": math.nan,
            "metrics.grad_norm/projection": 1 / n,
        }
        for n in counts
        for seed in (0, 1)
    ]


def test_norms_are_means_over_jobs_in_the_order_of_the_network() -> None:
    data = sweep(jobs((10.0, 50.0)))
    found = gradients.section(data, summarise(data))
    assert found is not None
    (chart,) = found.charts
    ax = chart.figure.axes[0]
    drawn = {str(line.get_label()): line.get_xydata().ravel().tolist() for line in ax.lines}  # type: ignore[union-attr]
    assert list(drawn) == ["projection", "layer2", "head"]
    assert drawn["projection"] == pytest.approx([10, 0.1, 50, 0.02])
    assert drawn["layer2"] == pytest.approx([10, 10.5, 50, 50.5])
    assert ax.get_yscale() == "log"
    assert "projection: 0.1 at 10 bands, 0.02 at 50" in chart.alt
    assert "gradients" in [part.key for part in sections(data, summarise(data))]


def test_one_number_of_bands_or_no_norms_make_no_chart() -> None:
    one = sweep(jobs((10.0,)))
    assert gradients.section(one, summarise(one)) is None
    without = sweep([{"n": n, "metrics.objective": 0.5} for n in (10.0, 50.0)])
    assert gradients.section(without, summarise(without)) is None
