from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from hyperspec.tracking.client import Connection
from hyperspec.tracking.lightning import SystemMetrics
from hyperspec.tracking.run import start_run


def trainer(step: int, *, first: bool = True) -> Any:
    return SimpleNamespace(is_global_zero=first, global_step=step)


def test_samples_are_taken_at_both_ends_and_when_due(connection: Connection) -> None:
    threads = threading.active_count()
    with start_run(connection, "job") as run:
        often, rare = SystemMetrics(run, 0.0), SystemMetrics(run, 1e6)
        often.on_train_start(trainer(0), SimpleNamespace())
        often.on_train_batch_end(trainer(1), SimpleNamespace(), None, None, 0)
        rare.on_train_start(trainer(2), SimpleNamespace())
        rare.on_train_batch_end(trainer(3), SimpleNamespace(), None, None, 0)
        rare.on_train_end(trainer(4), SimpleNamespace())
        often.sample(trainer(5, first=False))  # only one process of several logs
    assert threading.active_count() == threads
    key = "system/system_memory_usage_megabytes"
    rows = connection.client.get_metric_history(run.run_id, key)
    assert [row.step for row in rows] == [0, 1, 2, 4]
    total = psutil.virtual_memory().total / 1e6
    assert all(0 < row.value < total for row in rows)
    names = set(connection.client.get_run(run.run_id).data.metrics)
    assert {"system/cpu_utilization_percentage", "system/disk_available_megabytes"} <= names
    assert {"system/network_receive_megabytes", "system/network_transmit_megabytes"} <= names


def test_a_monitor_that_fails_is_left_out(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(path: str) -> None:
        raise OSError("no such device")

    with start_run(connection, "job") as run:
        metrics = SystemMetrics(run)
        monkeypatch.setattr(psutil, "disk_usage", broken)
        metrics.sample(trainer(0))
        monkeypatch.undo()
        metrics.sample(trainer(1))
    assert caplog.text.count("no more system metrics of DiskMonitor: no such device") == 1
    names = set(connection.client.get_run(run.run_id).data.metrics)
    assert "system/cpu_utilization_percentage" in names
    assert not any("disk" in name for name in names)
