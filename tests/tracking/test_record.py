from __future__ import annotations

import math

import pytest

from hyperspec.tracking import record
from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import Param, Tag
from hyperspec.tracking.record import RunRecord, ended, read_run
from hyperspec.tracking.retry import store_errors
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import TrackingError


def test_a_record_says_what_a_run_wrote(connection: Connection) -> None:
    tags = {Tag.STRATEGY: "uniform", Tag.NUM_BANDS: "8"}
    params = {"bands.n": "9", "seed": "0", Param.MARGIN: "0.02", "loss.temperature": "null"}
    with start_run(connection, "one", tags=tags, params=params) as run:
        run.log_metrics({"loss": 0.5}, 3)
    found = read_run(connection.client, run.run_id)
    assert (found.name, found.status, found.metrics) == ("one", "FINISHED", {"loss": 0.5})
    assert found.tag(Tag.STRATEGY) == "uniform"
    assert found.tag(Tag.REASON) == ""
    assert not found.has(Tag.REASON)
    assert found.number(Tag.NUM_BANDS, "bands.n") == 8
    assert found.number(Tag.NUM_CLASSES, "bands.n") == 9
    assert math.isnan(found.number("loss.temperature"))
    assert math.isnan(found.number("lr"))
    assert found.margin == 0.02
    assert (found.is_sweep, found.is_left_behind, found.model_id) == (False, False, None)
    assert found.seconds >= 0


def test_a_copy_took_as_long_as_the_run_that_trained() -> None:
    own = RunRecord("a", "a", "FINISHED", start_ms=1000, end_ms=3500)
    copy = RunRecord("b", "b", "FINISHED", {Tag.SECONDS: "70.5"}, start_ms=0, end_ms=1000)
    assert (own.seconds, copy.seconds) == (2.5, 70.5)
    assert math.isnan(RunRecord("c", "c", "RUNNING").seconds)


def test_a_search_reads_all_pages_the_newest_first(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "_PAGE", 2)
    for number in range(5):
        with start_run(connection, f"run {number}", tags={Tag.STUDY: "s"}):
            pass
    with start_run(connection, "other", tags={Tag.STUDY: "other"}):
        pass
    found = connection.search(ended("FINISHED"), Tag.STUDY.equals("s"))
    assert [run.name for run in found] == [f"run {number}" for number in (4, 3, 2, 1, 0)]
    assert [run.name for run in connection.search(Tag.STUDY.equals("s"), limit=1)] == ["run 4"]


def test_what_mlflow_refuses_is_an_error_of_ours(connection: Connection) -> None:
    with pytest.raises(TrackingError, match="nowhere"), store_errors():
        read_run(connection.client, "nowhere")
