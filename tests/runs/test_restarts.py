"""A job whose process was lost is started again: its earlier starts are no jobs of their own."""

from __future__ import annotations

from typing import Any

import pytest
from fake_sweeps import FakeSweep
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from hyperspec.runs.job import _start
from hyperspec.runs.job_context import JobContext
from hyperspec.runs.resume import SweepGivenUpError, give_up_after
from hyperspec.tracking.config import TrackingConfig
from hyperspec.tracking.parent import ParentInfo
from hyperspec.tracking.run import JobRun


def begin(sweep: FakeSweep, job: str) -> JobRun:
    store = sweep.connection
    parent = ParentInfo(sweep.parent.run_id, store.uri, store.experiment, "s", "n")
    context = JobContext(sweep.folder, sweep.folder, parent, (), {}, job)
    return _start(TrackingConfig(), context, f"job {job}", {})


def test_the_next_start_of_a_job_closes_the_one_before(fake_sweep: FakeSweep) -> None:
    client = fake_sweep.connection.client
    lost, other = begin(fake_sweep, "3"), begin(fake_sweep, "4")
    lost.flush()
    with begin(fake_sweep, "3") as again:
        found = client.get_run(lost.run_id)
        assert found.info.status == "FAILED"
        assert found.data.tags["hyperspec.requeued"] == "true"
        assert client.get_run(other.run_id).info.status == "RUNNING"
    store = fake_sweep.connection
    parent = ParentInfo(fake_sweep.parent.run_id, store.uri, store.experiment, "s", "n")
    give_up_after(parent, 1)  # no job has failed so far
    other.finish("FAILED")
    with pytest.raises(SweepGivenUpError, match="1 jobs of the sweep have failed"):
        give_up_after(parent, 1)
    lost.finish()  # the store took its end late, so that its result is found
    with begin(fake_sweep, "7") as copy:
        copy.copy_from(lost.run_id)
    tags = client.get_run(copy.run_id).data.tags
    assert tags["hyperspec.resumed_from"] == lost.run_id
    assert tags["hyperspec.job"] == "7"
    assert "hyperspec.requeued" not in tags
    assert client.get_run(again.run_id).info.status == "FINISHED"


def test_a_quote_in_a_folders_name_hides_no_start(fake_sweep: FakeSweep) -> None:
    hydra: Any = {"sweep": {"dir": "out", "subdir": "name='a \"b\"',n=5"}}
    hydra |= {
        "mode": RunMode.MULTIRUN,
        "runtime": {"output_dir": "o", "choices": {}},
        "overrides": {"task": []},
    }
    before = HydraConfig.instance().cfg
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": hydra})  # type: ignore[assignment]
    try:
        job = JobContext.current(OmegaConf.create({"hydra": hydra})).job
    finally:
        HydraConfig.instance().cfg = before
    assert job == "name=%27a %22b%22%27,n=5"
    lost = begin(fake_sweep, job)
    lost.flush()
    begin(fake_sweep, job).finish()
    assert fake_sweep.connection.client.get_run(lost.run_id).info.status == "FAILED"
