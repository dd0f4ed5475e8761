"""What the features tell besides the label: probes of session, date, operator, in a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hyperspec.evaluation.metrics import main_accuracy
from hyperspec.report.charts.figure import Section
from hyperspec.report.load import SweepData
from hyperspec.report.summary import Point, Score, Summary
from hyperspec.report.tables import Grid, number, with_interval

_INTRO = (
    "The same k-NN probe that names the label names what should not matter: who scanned, when, "
    "with what. Where it does so above chance, the features hold it, and a label that hangs "
    "together with it (hyperspec check says so) may be told by it. Chance is the share of the most "
    "common value. Of {}, the setting with the best objective; means over its seeds."
)


def section(data: SweepData, summary: Summary) -> Section | None:
    """Return the table of the first setting's probes; None where no confounder was probed."""
    if not summary.points:
        return None
    point = summary.points[0]
    probed = _probed(data, point)
    if not probed:
        return None
    rows = [_label_row(data, point)]
    for column, own in probed.items():
        score, chance = _score(own), _mean(own, "chance")
        if math.isnan(score.mean):
            reason = next(iter(own["reason"]))
            rows.append((column, f"not probed: {reason}", "-"))
        else:
            rows.append((column, with_interval(score), number(chance)))
    told = told_by_features(data, point)
    setting = f"bands={point.strategy} with {point.n or '?'} bands"
    columns = ("told from the features", "test k-NN [95%]", "chance")
    grid = Grid("Label and confounders", columns, tuple(rows), num_text=1)
    title = "What else do the features tell?"
    return Section("confounders", title, _INTRO.format(setting), (), (grid,), _note(told))


def told_by_features(data: SweepData, point: Point) -> tuple[str, ...]:
    """Return the columns whose values a setting's features tell above chance."""
    probed = _probed(data, point)
    return tuple(c for c, own in probed.items() if _score(own).low > _mean(own, "chance"))


def _probed(data: SweepData, point: Point) -> dict[str, pd.DataFrame]:
    """Return the rows of each probed column over a setting's runs."""
    tables = [table for run in point.run_ids if (table := data.confounders(run)) is not None]
    every = pd.concat(tables) if tables else pd.DataFrame({"column": []})
    return {column: every[every["column"] == column] for column in dict.fromkeys(every["column"])}


def _label_row(data: SweepData, point: Point) -> tuple[str, str, str]:
    metric = main_accuracy()
    table = data.predictions(point.run_ids[0])
    counts = Counter([] if table is None else table["label"])
    chance = max(counts.values()) / counts.total() if counts else float("nan")
    return "the label", with_interval(point.scores.get(metric.key)), number(chance)


def _score(rows: pd.DataFrame) -> Score:
    low, high = _mean(rows, "low"), _mean(rows, "high")
    return Score(_mean(rows, "accuracy"), low, high, "none" if math.isnan(low) else "specimens")


def _mean(rows: pd.DataFrame, name: str) -> float:
    """Return the mean of a column of text over runs; NaN where none has a number."""
    values = [float(text) for text in rows[name] if text]
    return float(np.mean(values)) if values else float("nan")


def _note(told: Sequence[str]) -> str:
    if not told:
        return ""
    return (
        f"The features tell {', '.join(told)} above chance. Whether the label is told by it: "
        f"train again with data.split.group={told[0]}, which keeps each {told[0]} in one part, and "
        "compare."
    )
