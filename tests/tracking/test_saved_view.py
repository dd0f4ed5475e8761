from __future__ import annotations

import json
import re

from fake_sweeps import FakeSweep

from hyperspec.tracking.contract import Tag
from hyperspec.tracking.saved_view import address, save_view


def test_the_view_shows_what_a_sweep_varies(fake_sweep: FakeSweep) -> None:
    connection = fake_sweep.connection
    fake_sweep.job("uniform", 5)
    fake_sweep.job("uniform", 6, params={"objective": "val/rankme"})  # of another question
    experiment = connection.known_experiment()
    varied = ["bands", "bands.n", "lr", "loss.temperature", "seed", "views.noise_sd", "epochs"]
    for keys in (["epochs"], varied):  # the newest sweep's takes the place of the one before
        save_view(
            connection.client, experiment, keys, "test/knn_top1", objective="auto", less=False
        )
        tags = connection.client.get_experiment(experiment).tags
        charts = json.loads(json.loads(tags[Tag.VIEW])["state"])["compareRunCharts"]
        axes = {(chart["xaxis"]["key"], chart["yaxis"]["key"]) for chart in charts[1:]}
        assert {("bands.count", "objective"), ("bands.count", "test/knn_top1")} <= axes
    view = json.loads(tags[Tag.VIEW])
    state = json.loads(view["state"])
    found = connection.client.search_runs([experiment], state["searchFilter"])
    assert [run.info.run_name for run in found] == ["uniform n=005 seed=0"]
    columns = [re.sub(r".*`(.*)`", r"\1", column) for column in state["selectedColumns"]]
    assert columns[:4] == ["bands", "bands.count", "loss.temperature", "lr"]
    assert columns[-5:] == [
        *("seed", "objective", "test/knn_top1", "test/knn_top1_low", "test/knn_top1_high")
    ]
    assert "bands.n" not in columns
    drawn = {chart["type"]: chart for chart in state["compareRunCharts"]}
    assert drawn["PARALLEL"]["selectedMetrics"] == ["objective"]
    assert drawn["PARALLEL"]["selectedParams"][:3] == ["bands", "bands.count", "lr"]
    assert drawn["CONTOUR"]["xaxis"]["key"] == "loss.temperature"
    measured = {chart.get("yaxis", {}).get("key") for chart in state["compareRunCharts"]}
    assert "train/loss" not in measured
    assert len(json.dumps(view)) < 20_000  # characters of an experiment's tag in MLflow


def test_the_address_names_the_view_by_its_tag() -> None:
    assert address("7", saved=True).endswith(
        "/7/runs?workflowType=machine_learning&viewStateShareKey=hyperspec"
    )
    assert "viewStateShareKey" not in address("7", saved=False)
