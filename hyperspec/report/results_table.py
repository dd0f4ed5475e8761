"""The tables of results for a reader: the columns that are asked for first, one line per job."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from math import isnan
from typing import Any

import pandas as pd

from hyperspec.evaluation.metrics import accuracies
from hyperspec.report.summary import Score, setting_text
from hyperspec.report.tables import Grid, number, with_interval

_USUAL = ("temperature", "lr", "seed", "rotation")
_ID = 8  # digits of an identity that find a run
_ENDS = ("", "_low", "_high")


def shown_jobs(table: pd.DataFrame) -> Grid:
    """Return a table of jobs: what became of each, what varies, objective and test accuracy."""
    place = list(table.columns)
    between = place[place.index("rotation") + 1 : place.index("objective")]
    settings = [name for name in (*_USUAL, *between) if table[name].nunique() > 1]
    row = next((one for one in accuracies() if f"test/{one.name}" in table), None)
    named = ["sweep"] * (table["sweep_id"].nunique() > 1) + ["run", "status"]
    named += ["strategy"] * (table["strategy"].nunique() > 1)
    same = table["objective"].nunique() == 1
    columns = [*named, "bands", *(name.replace(".", ".\n") for name in settings)]
    columns.append(str(table["objective"].iloc[0]).replace("/", "/\n") if same else "objective")
    columns += [f"test {row.title}\n[95%]"] if row else []
    rows = []
    for job in table.to_dict("records"):
        texts = {"sweep": _sweep(job, table), "run": str(job["run_id"])[:_ID]}
        texts |= {"status": _status(job), "strategy": str(job["strategy"])}
        cells = [*(texts[name] for name in named), _text(job["bands"])]
        cells += [_text(job[name]) for name in settings]
        value = number(float(job["objective_value"]))
        cells.append(value if same else f"{job['objective']} {value}")
        if row:
            mean, low, high = (float(job[f"test/{row.name}{end}"]) for end in _ENDS)
            score = Score(mean, low, high, "none")
            cells.append("-" if isnan(mean) else with_interval(score, digits=2))
        rows.append(tuple(cells))
    fixed = [] if "strategy" in named or table.empty else [f"bands={table['strategy'].iloc[0]}"]
    title = ", ".join([f"{len(table)} job{'s' * (len(table) != 1)}", *fixed])
    return Grid(title, tuple(columns), tuple(rows), num_text=len(named))


def shown_reasons(table: pd.DataFrame) -> Grid:
    """Return why jobs did not end well, and whose result was taken over."""
    rows = []
    for job in table.to_dict("records"):
        taken = f"result of run {job['taken_over_from']}" if job["taken_over_from"] else ""
        if text := taken or str(job["reason"]):
            rows.append((str(job["run_id"])[:_ID], _status(job), text))
    return Grid("", ("run", "status", "why"), tuple(rows), num_text=3)


def shown_predictions(table: pd.DataFrame, most: int) -> Grid:
    """Return the first rows of a table of predictions."""
    first = list(map(str, table)).index("image")
    said = [name for name in map(str, table.columns[first:]) if not name.endswith("_correct")]
    rows = [
        (str(row["run_id"])[:_ID], *(_text(row[name]) for name in said))
        for row in table.head(most).to_dict("records")
    ]
    return Grid("Predictions of tested images", ("run", *said), tuple(rows), num_text=len(said) + 1)


def _sweep(job: Mapping[Hashable, Any], table: pd.DataFrame) -> str:
    """Return a sweep's study, or its whole name where another has the same."""
    name = str(job["sweep"])
    alike = table[table["sweep"].str.partition(" ")[0] == name.partition(" ")[0]]
    return name if alike["sweep_id"].nunique() > 1 else name.partition(" ")[0]


def _status(job: Mapping[Hashable, Any]) -> str:
    return "taken over" if job["taken_over_from"] else str(job["status"]).lower()


def _text(value: Any) -> str:
    if pd.isna(value):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else setting_text(str(value))
