"""One encoder's accuracy on many sets of bands: rows, a table, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from hyperspec.evaluation.metrics import columns, main_accuracy
from hyperspec.evaluation.scores import EvaluationResult
from hyperspec.tracking.contract import MetricName


class CurvePoint(NamedTuple):
    """An encoder on one set of bands.

    Args:
        strategy: What chose the bands.
        n: How many.
        bands_hash: Hash of the selection.
        result: Scores of the test part (and validation), and what was said of each row.
    """

    strategy: str
    n: int
    bands_hash: str
    result: EvaluationResult

    def metrics(self) -> dict[str, float]:
        """Return the point's metrics as ``curve/<strategy>_<measure>``, logged at step n."""
        scores = self.result.metrics
        main = main_accuracy().name
        keys = [
            main,
            f"{main}_low",
            f"{main}_high",
            *(row.name for row in columns() if row.name != main),
            "rankme",
        ]
        found = {
            MetricName.CURVE.of(f"{self.strategy}_{key}"): scores.get(f"test/{key}") for key in keys
        }
        return {key: value for key, value in found.items() if value is not None}


def curve_table(points: Sequence[CurvePoint]) -> pd.DataFrame:
    """Return one row per point: strategy, n, hash, and all its test scores."""
    rows = []
    for point in points:
        scores = {
            key.removeprefix("test/"): value
            for key, value in point.result.metrics.items()
            if key.startswith("test/")
        }
        rows.append(
            {"strategy": point.strategy, "n": point.n, "bands_hash": point.bands_hash, **scores}
        )
    return pd.DataFrame(rows)


def curve_predictions(points: Sequence[CurvePoint]) -> pd.DataFrame:
    """Return what was said of each test row at each point; empty without labels."""
    tables = [
        point.result.predictions["test"].assign(strategy=point.strategy, n=point.n)
        for point in points
        if "test" in point.result.predictions
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def draw_curve(points: Sequence[CurvePoint]) -> Figure:
    """Draw test k-NN (RankMe without labels) against n, a line and its interval per strategy."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    main = main_accuracy()
    labelled = all(f"test/{main.name}" in point.result.metrics for point in points)
    measure = f"test/{main.name}" if labelled else "test/rankme"
    for strategy in dict.fromkeys(point.strategy for point in points):
        own = sorted((p for p in points if p.strategy == strategy), key=lambda p: p.n)
        counts = [point.n for point in own]
        values = [point.result.metrics[measure] for point in own]
        (line,) = axes.plot(counts, values, marker="o", label=strategy)
        if labelled:
            low, high = (
                [point.result.metrics[f"{measure}_{end}"] for point in own]
                for end in ("low", "high")
            )
            axes.fill_between(counts, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    counts = sorted({point.n for point in points})
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("bands")
    axes.set_ylabel(f"test {main.title} top-1, 95% interval" if labelled else "RankMe (test)")
    if labelled:
        axes.set_ylim(0, 1.02)
    axes.set_title("One encoder on sets of bands that it was given after training", loc="left")
    axes.legend(frameon=False, fontsize=8)
    return figure
