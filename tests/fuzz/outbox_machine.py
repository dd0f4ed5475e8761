"""Runs and their outbox, while the store is away, loses answers, or has runs deleted.

At the end the store answers, and has each run once, with all that it said.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from hyperspec.tracking.cleanup import Delivery, send_outbox
from hyperspec.tracking.client import Connection, connect
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.offline.journal import Head, Journal, new_local_id

CALLS = ("create_run", "log_batch", "set_terminated", "search_runs")


@dataclass
class Said:
    """What a run has said so far."""

    journal: Journal | None
    """None when its process is gone."""
    folder: Path
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[str, float, int]] = field(default_factory=list)
    status: str = "FAILED"  # of a run whose process is gone


class OutboxMachine(RuleBasedStateMachine):
    """Runs begin, speak, end or are killed; their outbox is sent."""

    store: ClassVar[Connection | None] = None
    """A store for all examples: making one takes two seconds."""

    def __init__(self) -> None:
        super().__init__()
        if OutboxMachine.store is None:
            folder = tempfile.mkdtemp()
            atexit.register(shutil.rmtree, folder)
            OutboxMachine.store = connect(f"sqlite:///{folder}/mlflow.db", "machine")
        self.connection = OutboxMachine.store
        self.outbox = Path(tempfile.mkdtemp()) / "outbox"
        self.runs: dict[str, Said] = {}
        self.count = 0

    def living(self) -> list[Said]:
        """Return the runs whose process lives."""
        return [run for run in self.runs.values() if run.journal is not None]

    @rule()
    def begin(self) -> None:
        """A run begins."""
        head = Head(new_local_id(), self.connection.uri, "machine", "run", 1, {Tag.KIND: "job"})
        journal = Journal.create(self.outbox, head)
        self.runs[head.local_id] = Said(journal, journal.folder)

    @precondition(lambda self: self.living())
    @rule(data=st.data(), kind=st.sampled_from(["tags", "params", "metrics"]))
    def say(self, data: st.DataObject, kind: str) -> None:
        """A run says something new."""
        run, name = data.draw(st.sampled_from(self.living())), f"name{self.count}"
        assert run.journal is not None
        self.count += 1
        if kind == "metrics":
            run.rows += [(name, 0.5, 1), (name, 0.25, 2)]
            run.journal.append({"op": kind, "rows": [[name, 0.5, 9, 1], [name, 0.25, 9, 2]]})
        else:
            getattr(run, kind)[name] = "x"
            run.journal.append({"op": kind, kind: {name: "x"}})

    @precondition(lambda self: self.living())
    @rule(data=st.data(), how=st.sampled_from(["ends", "is killed", "is killed while it writes"]))
    def leave(self, data: st.DataObject, how: str) -> None:
        """The process of a run is over."""
        run = data.draw(st.sampled_from(self.living()))
        assert run.journal is not None
        if how == "ends":
            run.status = "FINISHED"
            run.journal.append({"op": "end", "status": "FINISHED", "time_ms": 2})
        run.journal.close()
        run.journal = None
        if how == "is killed while it writes":
            with (run.folder / "journal.jsonl").open("a") as file:
                file.write('{"seq": 99, "op": "tags", "ta')

    @rule(
        how=st.sampled_from(["answers", "is away", *["loses an answer"] * 3]), at=st.integers(0, 3)
    )
    def send(self, how: str, at: int) -> None:
        """The outbox is sent; one of the calls fails before or after it was done."""
        with trouble(self.connection.client, how, at):
            self.sent()

    def sent(self) -> Delivery:
        """Send what waits."""
        with patch("hyperspec.tracking.cleanup.connect", lambda *_: self.connection):
            found = send_outbox(self.outbox)
        assert found.refused == []
        return found

    def on_store(self, local_id: str) -> list[Any]:
        """Return the runs of one identity on the store, deleted ones too."""
        where = [self.connection.known_experiment()]
        text = Tag.LOCAL_ID.equals(local_id)
        return list(self.connection.client.search_runs(where, text, ViewType.ALL))

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def delete_or_restore(self, data: st.DataObject) -> None:
        """Somebody deletes a run in the UI, or restores it."""
        local_id = data.draw(st.sampled_from(sorted(self.runs)))
        for run in self.on_store(local_id):
            deleted = run.info.lifecycle_stage == "deleted"
            client = self.connection.client
            (client.restore_run if deleted else client.delete_run)(run.info.run_id)

    def teardown(self) -> None:
        """All is well again, and the outbox is sent: each run is there once, and whole."""
        for local_id, said in self.runs.items():
            if said.journal is not None:
                said.journal.close()
            for run in self.on_store(local_id):
                if run.info.lifecycle_stage == "deleted":
                    self.connection.client.restore_run(run.info.run_id)
        assert self.sent().waiting == []
        for local_id, said in self.runs.items():
            (run,) = self.on_store(local_id)
            assert run.info.status == said.status
            assert run.data.params == said.params
            assert said.tags.items() <= run.data.tags.items()
            assert run.data.metrics.keys() == {name for name, _, _ in said.rows}
            for name in run.data.metrics:
                history = self.connection.client.get_metric_history(run.info.run_id, name)
                found = sorted((one.key, one.value, one.step) for one in history)
                assert found == sorted(row for row in said.rows if row[0] == name)
        assert not self.outbox.exists() or list(self.outbox.iterdir()) == []
        shutil.rmtree(self.outbox.parent)


@contextmanager
def trouble(client: Any, how: str, at: int) -> Iterator[None]:
    """Let the calls from a number on fail, or one lose its answer."""
    count = 0

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*words: Any, **named: Any) -> Any:
            nonlocal count
            number, count = count, count + 1
            if how == "is away" and number >= at:
                raise MlflowException("planned: no answer")
            found = call(*words, **named)
            if how == "loses an answer" and number == at:
                raise MlflowException("planned: the answer is lost")
            return found

        return asked

    with ExitStack() as stack:
        for name in CALLS:
            stack.enter_context(patch.object(client, name, wrapped(getattr(client, name))))
        yield
