"""How a sweep ends when its store does not have all of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hyperspec.sweeps import finalise
from hyperspec.tracking import cleanup
from hyperspec.tracking.cleanup import Delivery, Waiting
from hyperspec.tracking.offline.journal import Head, Journal, new_local_id


def parent(outbox: Path) -> Any:
    """The sweep's run, as far as its end looks at it."""
    connection = SimpleNamespace(uri="http://x", shown_uri="http://x", outbox=outbox)
    return SimpleNamespace(
        run_id="p",
        stored_id=None,
        connection=connection,
        flush=lambda: False,
        finish=lambda status, reason: None,
    )


@pytest.mark.parametrize(("away", "held"), [("no answer", False), ("", True)])
def test_results_that_wait_for_a_store_are_no_failure(
    away: str, held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are sent when it answers; those of a run that was deleted wait for somebody."""
    found = Delivery(waiting=[Waiting("job", "p", "reason")], away=away)
    monkeypatch.setattr(cleanup, "send_outbox", lambda *_, **__: found)
    nothing = SimpleNamespace(failed=(), jobs=())
    monkeypatch.setattr(finalise, "_stored", lambda *_: nothing)
    ending = finalise.close_sweep(parent(tmp_path), None)
    assert (ending.failed, ending.held) == (0, held)
    assert f"hyperspec sync {tmp_path}" in ending.text
    assert ("does not take the results of 1 runs:\n  job: reason" in ending.text) is held


def test_jobs_that_wait_are_counted_once_each(tmp_path: Path) -> None:
    """While the store is away, the journals say how a sweep went."""

    def start(job: str | None, status: str | None) -> None:
        tags = {"mlflow.parentRunId": "p"} | ({} if job is None else {"hyperspec.job": job})
        head = Head(new_local_id(), "http://x", "e", "n", 1 + len(list(tmp_path.iterdir())), tags)
        journal = Journal.create(tmp_path, head)
        if status is not None:
            journal.append({"op": "end", "status": status, "time_ms": 2})
        journal.close()

    start("0", None)  # lost
    start("0", "FINISHED")
    start("1", "FAILED")
    start(None, "FINISHED")  # of an earlier version
    start(None, "FAILED")
    assert finalise._count_waiting(parent(tmp_path)) == (2, 4)
