"""What MLflow's UI shows of an experiment first: a saved view, its table and its charts.

The UI keeps such views in tags of the experiment (*Save view* on its page) and opens the one
that the address names. Tried with MLflow 3.17; other versions that do not know a key leave it out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hyperspec.tracking.contract import MetricName, Param, Tag

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_NAME = "Jobs of sweeps"
_COLUMNS = ("bands", Param.NUM_BANDS, "loss.temperature", "lr")
_WIDTH = 90  # pixels of a column, so that all are seen on a laptop
_SECTION = "hyperspec"
_MOST = 5  # settings that are shown beside the usual ones


def save_view(
    client: MlflowClient,
    experiment_id: str,
    varied: Sequence[str],
    score: str,
    *,
    objective: str,
    less: bool,
) -> None:
    """Save the view of a sweep: its jobs with settings and scores, and charts of what it varies.

    Args:
        client: Of the store.
        experiment_id: Whose view it is; it takes the place of the one before.
        varied: Parameters with several values, such as ``loss.temperature``.
        score: Metric that is shown beside the objective, with the ends of its interval.
        objective: The sweep's ``objective``, as typed; jobs of another one are left out, since
            their numbers would be sorted and drawn together with these.
        less: Whether less of the objective is better.
    """
    now = int(time.time() * 1000)
    state = json.dumps(_state(varied, score, objective, less))
    view = {"name": _NAME, "createdAt": now, "updatedAt": now, "state": state}
    client.set_experiment_tag(experiment_id, Tag.VIEW, json.dumps(view))


def newest_page(client: MlflowClient) -> str:
    """Return the end of the address of the experiment that was trained in last."""
    experiments = {one.experiment_id: one for one in client.search_experiments()}
    order = ["attributes.start_time DESC"]
    runs = client.search_runs(list(experiments), max_results=1, order_by=order)
    if not runs:
        return "#/experiments?workflowType=machine_learning"
    found = experiments[runs[0].info.experiment_id]
    return address(found.experiment_id, saved=Tag.VIEW in found.tags)


def address(experiment_id: str, *, saved: bool) -> str:
    """Return the end of the address of an experiment's runs, with its saved view if it has one."""
    view = f"&viewStateShareKey={Tag.VIEW.rpartition('.')[2]}" if saved else ""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning{view}"


def _state(varied: Sequence[str], score: str, judged: str, less: bool) -> dict[str, Any]:
    # Strategies without a number of bands have no bands.n, and all have bands.count.
    named = [Param.NUM_BANDS if key == "bands.n" else key for key in varied]
    drawn = list(dict.fromkeys(named))[:_MOST]
    params = dict.fromkeys([*_COLUMNS, *drawn, "seed"])
    metrics = [MetricName.OBJECTIVE, score, f"{score}_low", f"{score}_high"]
    columns = [f"params.`{key}`" for key in params] + [f"metrics.`{key}`" for key in metrics]
    return {
        "searchFilter": f"{Tag.KIND.equals('job')} and params.`objective` = '{judged}'",
        "orderByKey": f"metrics.`{MetricName.OBJECTIVE}`",
        "orderByAsc": less,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": dict.fromkeys(columns, _WIDTH),
        "runsHiddenMode": "SHOW_ALL",
        # An experiment's jobs may be of several sweeps: numbers of bands are always drawn.
        "compareRunCharts": _charts(list(dict.fromkeys([*drawn, Param.NUM_BANDS])), score),
        "compareRunSections": [
            {"uuid": _SECTION, "name": _SECTION, "display": True, "isReordered": True, "columns": 2}
        ],
        "isAccordionReordered": True,  # else sections are sorted by name
        "groupBy": None,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
    }


def _charts(params: list[str], score: str) -> list[dict[str, Any]]:
    objective = {"key": MetricName.OBJECTIVE, "type": "METRIC"}
    parallel = {"selectedParams": params, "selectedMetrics": [objective["key"]]}
    charts = [{"type": "PARALLEL", **parallel, "showAllRuns": True}]
    axes = [{"key": key, "type": "PARAM"} for key in params if key not in ("bands", "seed")]
    for axis in axes:
        charts.append({"type": "SCATTER", "xaxis": axis, "yaxis": objective})
    if Param.NUM_BANDS in params:
        scored = {"key": score, "type": "METRIC"}
        counts = next(axis for axis in axes if axis["key"] == Param.NUM_BANDS)
        charts.append({"type": "SCATTER", "xaxis": counts, "yaxis": scored})
    if {"loss.temperature", "lr"} <= {*params}:
        first, second = ({"key": key, "type": "PARAM"} for key in ("loss.temperature", "lr"))
        charts.append({"type": "CONTOUR", "xaxis": first, "yaxis": second, "zaxis": objective})
    common = {"isGenerated": False, "deleted": False, "metricSectionId": _SECTION}
    return [{"uuid": f"{_SECTION}-{i}", **common, **chart} for i, chart in enumerate(charts)]
