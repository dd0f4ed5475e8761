"""What runs have to say survives a store that is away, and arrives once and in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from hyperspec.cli.main import main
from hyperspec.tracking import TrackingConfig
from hyperspec.tracking.cleanup import catch_up, send_outbox
from hyperspec.tracking.client import Connection, connect, outbox_folder
from hyperspec.tracking.offline.journal import (
    Head,
    Journal,
    new_local_id,
    pending,
    read_entries,
    waiting_runs,
)
from hyperspec.tracking.retry import NotYetError, UnreachableError
from hyperspec.tracking.run import JobRun, start_run
from hyperspec.utils.errors import ConfigError, TrackingError


class Trouble:
    """Stands before MLflow's client: refuses, or does what is asked and loses the answer."""

    def __init__(self, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mode = "pass"
        self.askers: list[int] = []  # the thread of each call
        # A server is not waited for; the file that stands for it here would be.
        monkeypatch.setattr("hyperspec.tracking.offline.uploader.LOCKED_SECONDS", 0.5)
        monkeypatch.setattr("hyperspec.tracking.run.LOCKED_SECONDS", 0.0)
        for name in ("create_run", "log_batch", "log_artifact", "set_terminated", "search_runs"):
            original = getattr(connection.client, name)
            monkeypatch.setattr(connection.client, name, self._wrapped(original))

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.askers.append(threading.get_ident())
            if self.mode == "down":
                raise MlflowException("planned: no answer")
            found = original(*args, **kwargs)
            if self.mode == "deaf":
                self.mode = "pass"
                raise MlflowException("planned: the answer is lost")
            return found

        return call


@pytest.fixture
def own(connection: Connection, tmp_path: Path) -> Connection:
    """A connection with an outbox of its own."""
    return connect(connection.uri, connection.experiment, outbox=str(tmp_path / "outbox"))


@pytest.fixture
def trouble(own: Connection, monkeypatch: pytest.MonkeyPatch) -> Trouble:
    own.client.search_experiments()
    return Trouble(own, monkeypatch)


def everything(connection: Connection, name: str) -> tuple[str, dict[str, str], list[float], str]:
    """What the store has of the one run of that name."""
    found = [
        run
        for run in connection.client.search_runs([connection.experiment_id])
        if run.info.run_name == name and "hyperspec.resumed_from" not in run.data.tags
    ]
    assert len(found) == 1
    (run,) = found
    rows = connection.client.get_metric_history(run.info.run_id, "loss")
    assert [row.step for row in rows] == sorted(row.step for row in rows)
    return run.info.status, run.data.params, [row.value for row in rows], run.info.run_id


def settle(run: JobRun) -> None:
    """Send everything; on a machine with much to do the first try may come late."""
    assert any(run.flush() for _ in range(40))


def say(run: JobRun, first: int, last: int) -> None:
    for step in range(first, last):
        run.log_metrics({"loss": float(step)}, step)


def test_a_run_that_the_store_never_saw_is_sent_later(
    own: Connection, trouble: Trouble, artifact_text: Callable[[str, str], str]
) -> None:
    trouble.mode = "down"
    run = start_run(own, "unseen", params={"lr": "0.1"})
    assert run.run_id.startswith("local-")
    assert run.stored_id is None
    trouble.askers.clear()
    say(run, 0, 2000)
    run.log_text("text", "a/b.txt")
    assert threading.get_ident() not in trouble.askers
    run.finish()
    (waiting,) = waiting_runs(own.outbox)
    assert (waiting.name, waiting.status, waiting.metrics) == ("unseen", "FINISHED", {"loss": 1999})
    trouble.mode = "pass"
    found = send_outbox(own.outbox)
    status, params, values, run_id = everything(own, "unseen")
    assert found.sent == [run_id]
    assert (status, params) == ("FINISHED", {"lr": "0.1"})
    assert values == [float(step) for step in range(2000)]
    assert artifact_text(run_id, "a/b.txt") == "text"
    assert pending(own.outbox) == []
    stored = own.client.get_run(run_id).info
    assert abs(stored.end_time / 1000 - time.time()) < 60
    assert stored.start_time <= stored.end_time


@pytest.mark.parametrize("lost", ["create", "metrics", "artifact", "end"])
def test_an_answer_that_is_lost_doubles_nothing(
    own: Connection, trouble: Trouble, lost: str
) -> None:
    trouble.mode = "deaf" if lost == "create" else "pass"
    run = start_run(own, "deaf", flush_seconds=600)
    say(run, 0, 5)
    for kind, action in (
        ("metrics", run.flush),
        ("artifact", lambda: run.log_text("x", "x.txt")),
        ("end", run.flush),
    ):
        trouble.mode = "deaf" if lost == kind else trouble.mode
        action()
    say(run, 5, 9)
    run.finish()
    send_outbox(own.outbox)
    assert everything(own, "deaf")[::2] == ("FINISHED", [float(step) for step in range(9)])


def test_rows_are_compared_even_where_the_store_keeps_doubles(
    own: Connection, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    write = own.client.log_batch

    def count(run_id: str, metrics: Any = (), **rest: Any) -> None:
        sent.extend(row.step for row in metrics)
        write(run_id, metrics=metrics, **rest)

    monkeypatch.setattr(own.client, "log_batch", count)
    run = start_run(own, "doubles", flush_seconds=600)
    say(run, 0, 3)
    run.log_metrics({"odd": float("nan")}, 0)
    trouble.mode = "deaf"
    settle(run)
    run.finish()
    assert sent == [0, 1, 2, 0]


def test_trouble_does_not_hold_up_a_step(own: Connection, trouble: Trouble) -> None:
    run = start_run(own, "quick", flush_seconds=0.0)
    trouble.mode = "down"
    trouble.askers.clear()
    say(run, 0, 300)
    assert threading.get_ident() not in trouble.askers  # another thread asks the store
    trouble.mode = "pass"
    settle(run)
    run.finish()
    assert everything(own, "quick")[2] == [float(step) for step in range(300)]


def test_children_of_a_parent_that_waits_come_under_it(own: Connection, trouble: Trouble) -> None:
    trouble.mode = "down"
    parent = start_run(own, "parent", kind="sweep")
    child = start_run(own, "child", parent_run_id=parent.run_id)
    child.finish()
    parent.finish()
    trouble.mode = "pass"
    assert len(send_outbox(own.outbox).sent) == 2
    above, below = everything(own, "parent")[3], everything(own, "child")[3]
    assert own.client.get_run(below).data.tags["mlflow.parentRunId"] == above


def test_a_copy_of_a_run_that_waits_comes_after_it(own: Connection, trouble: Trouble) -> None:
    trouble.mode = "down"
    first = start_run(own, "first", params={"lr": "1"})
    say(first, 0, 4)
    copy, goes_on = start_run(own, "copy"), start_run(own, "goes on")
    copy.copy_from(first.run_id, metrics={"objective": 1.0})
    goes_on.copy_from(first.run_id, until_step=2)
    for run in (first, copy, goes_on):
        run.finish()
    assert [run.metrics for run in waiting_runs(own.outbox)][1] == {"objective": 1.0}
    trouble.mode = "pass"
    assert len(send_outbox(own.outbox).sent) == 3
    _, params, values, run_id = everything(own, "first")
    copies = own.client.search_runs(
        [own.experiment_id], f"tags.`hyperspec.resumed_from` = '{run_id}'"
    )
    assert [run.data.params for run in copies] == [params]
    assert values == [0.0, 1.0, 2.0, 3.0]
    assert everything(own, "goes on")[2] == [0.0, 1.0, 2.0]
    continued = own.client.get_run(everything(own, "goes on")[3]).data.tags
    assert continued["hyperspec.continued_from"] == run_id


def test_a_line_that_the_store_never_takes_is_put_aside(own: Connection, trouble: Trouble) -> None:
    run = start_run(own, "refused", flush_seconds=600)
    say(run, 0, 2)
    run._background.put({"op": "tags", "tags": {"bad@name": "1"}})
    say(run, 2, 4)
    run.finish()
    assert everything(own, "refused")[2] == [0.0, 1.0, 2.0, 3.0]
    (kept,) = (own.outbox.parent / "refused").iterdir()
    assert "refused: tags refused" in (kept / "refused.txt").read_text()
    assert "bad@name" in (kept / "journal.jsonl").read_text()


def test_a_killed_process_loses_nothing_and_its_run_is_closed(
    own: Connection, tmp_path: Path
) -> None:
    program = (
        "import sys, time; from hyperspec.tracking.client import connect; "
        "from hyperspec.tracking.run import start_run; "
        "c = connect(sys.argv[1], sys.argv[2], outbox=sys.argv[3]); "
        "r = start_run(c, 'killed', flush_seconds=600.0); "
        "[r.log_metrics({'loss': float(s)}, s) for s in range(50)]; "
        "print('ready', flush=True); time.sleep(60)"
    )
    victim = subprocess.Popen(
        [sys.executable, "-c", program, own.uri, own.experiment, str(own.outbox)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "ready\n"
    assert send_outbox(own.outbox).busy == 1
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(30)
    victim.stdout.close()
    (folder,) = pending(own.outbox)
    with (folder / "journal.jsonl").open("a") as file:
        file.write('{"seq": 51, "op": "metr')  # a line torn by a power cut
    catch_up(own)
    status, _, values, run_id = everything(own, "killed")
    assert (status, values) == ("FAILED", [float(step) for step in range(50)])
    reason = own.client.get_run(run_id).data.tags["hyperspec.failure.reason"]
    assert reason.startswith(f"process {victim.pid} on ")
    assert pending(own.outbox) == []


def test_a_journal_that_cannot_be_written_is_sent_all_the_same(
    own: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = start_run(own, "full disk", flush_seconds=600)
    say(run, 0, 2)
    opened = Path.open

    def full(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "journal.jsonl":
            raise OSError(28, "No space left on device")
        return opened(path, *args, **kwargs)

    run._journal._close_file()
    monkeypatch.setattr(Path, "open", full)
    say(run, 2, 4)
    monkeypatch.undo()
    say(run, 4, 6)
    run.finish()
    assert everything(own, "full disk")[2] == [float(step) for step in range(6)]


def test_a_journal_keeps_order_and_numbers_over_processes(tmp_path: Path) -> None:
    head = Head(new_local_id(), "sqlite:////x.db", "e", "n", 1, {})
    first = Journal.create(tmp_path, head)
    assert Journal.open(first.folder) is None
    assert [first.append({"op": "tags"})["seq"] for _ in range(3)] == [1, 2, 3]
    first.set_sent(2)
    first.close()
    second = Journal.open(first.folder)
    assert second is not None
    assert [entry["seq"] for entry in second.entries()] == [3]
    assert second.append({"op": "tags"})["seq"] == 4
    assert len(read_entries(second.folder)) == 4
    second.set_sent(4)  # all of it: what comes next is new all the same
    second.close()
    third = Journal.open(first.folder)
    assert third is not None
    assert third.append({"op": "end", "status": "FINISHED", "time_ms": 1})["seq"] == 5
    assert [entry["op"] for entry in third.entries()] == ["end"]
    third.close(remove=True)
    assert not third.folder.exists()


class _Stub(BaseHTTPRequestHandler):
    """Answers 500 to everything but the question whether it is there."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/health" else 500)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(500)

    def _answer(self, status: int) -> None:
        body = json.dumps({"error_code": "INTERNAL_ERROR", "message": "planned"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def broken_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_server_that_answers_500_is_away_like_one_that_is_down(
    broken_server: str, tmp_path: Path
) -> None:
    with pytest.raises(UnreachableError, match=f"tracking.uri={broken_server}"):
        connect(broken_server, "e", tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    for uri in (broken_server, nobody):
        connection = connect(uri, "e", tmp_path, offline=True)
        assert connection.offline
        run = start_run(connection, "job", flush_seconds=0.1)
        say(run, 0, 10)
        run.finish()
    assert [run.uri for run in waiting_runs(tmp_path / ".hyperspec/outbox")] == [
        broken_server,
        nobody,
    ]


def test_sync_sends_to_another_address_and_says_what_is_left(
    own: Connection,
    broken_server: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection = connect(broken_server, own.experiment, tmp_path, offline=True)
    run = start_run(connection, "moved")
    say(run, 0, 3)
    run.finish()
    assert main(["sync", str(tmp_path)]) == 1
    assert "0 runs sent, 1 left" in capsys.readouterr().out
    assert main(["sync", str(tmp_path), "--uri", own.uri]) == 0
    out = capsys.readouterr().out
    assert "sent moved as " in out
    assert "1 runs sent, 0 left" in out
    assert everything(own, "moved")[::2] == ("FINISHED", [0.0, 1.0, 2.0])
    assert main(["sync", str(tmp_path / "nowhere")]) == 2
    assert "There is no outbox at" in capsys.readouterr().err


def test_where_the_outbox_lies(tmp_path: Path) -> None:
    assert outbox_folder("sqlite:////data/m.db", tmp_path) == Path("/data/.hyperspec/outbox")
    assert outbox_folder("http://host:1", tmp_path) == tmp_path / ".hyperspec/outbox"
    assert outbox_folder("http://host:1", tmp_path, "kept") == tmp_path / "kept"
    with pytest.raises(ConfigError, match=r"tracking\.outbox is empty"):
        TrackingConfig(outbox=" ")
    (tmp_path / "file").write_text("")
    connection = connect("http://127.0.0.1:9", "e", outbox=str(tmp_path / "file"), offline=True)
    with pytest.raises(TrackingError, match=r"Choose another with tracking\.outbox=FOLDER"):
        start_run(connection, "job")


def _bin(own: Connection, what: str, run_id: str, restore: bool = False) -> None:
    """Delete a run or its whole experiment, as in the UI, or bring it back."""
    name = ("restore" if restore else "delete") + f"_{what}"
    getattr(own.client, name)(run_id if what == "run" else own.experiment_id)


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_what_was_deleted_waits_and_is_delivered_when_restored(
    own: Connection, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start_run(own, "binned", flush_seconds=600)
    say(run, 0, 2)
    run.flush()
    _bin(own, what, run.run_id)
    say(run, 2, 4)
    run.log_text("x", "x.txt")
    began = time.monotonic()
    run.finish()
    assert time.monotonic() - began < 30, "it waited as for a locked file"
    later = None
    if what == "experiment":  # a job that begins meanwhile
        begun = connect(own.uri, own.experiment, outbox=str(own.outbox), offline=True, begun=True)
        later = start_run(begun, "later", flush_seconds=600)
        say(later, 0, 3)
        later.finish()
        with pytest.raises(NotYetError, match="was deleted"):  # a sweep that begins now is refused
            connect(own.uri, own.experiment, outbox=str(own.outbox), offline=True)
    number = 1 if later is None else 2
    for _ in range(2):
        assert main(["sync", str(own.outbox)]) == 1
        out = capsys.readouterr().out
        assert f"0 runs sent, {number} left" in out
        assert "was deleted in sqlite:" in out
        assert "restore" in out
    assert not (own.outbox.parent / "refused").exists()
    assert len(pending(own.outbox)) == number
    _bin(own, what, run.run_id, restore=True)
    assert main(["sync", str(own.outbox)]) == 0
    assert f"{number} runs sent, 0 left" in capsys.readouterr().out
    assert everything(own, "binned")[::2] == ("FINISHED", [0.0, 1.0, 2.0, 3.0])
    if later is not None:
        assert everything(own, "later")[::2] == ("FINISHED", [0.0, 1.0, 2.0])


def test_others_are_sent_while_one_that_was_deleted_waits(own: Connection) -> None:
    runs = [start_run(own, "alike", flush_seconds=600) for _ in range(3)]
    for run in runs:
        run.flush()
        own.client.delete_run(run.run_id)
        say(run, 0, 2)
        run.finish()
    own.client.restore_run(runs[2].run_id)
    found = send_outbox(own.outbox)
    assert found.sent == [runs[2].run_id]
    assert [one.name for one in found.waiting] == ["alike", "alike"]
    assert found.away == ""


def test_what_was_deleted_for_good_is_sent_whole_anew(own: Connection) -> None:
    parent = start_run(own, "parent", kind="sweep", flush_seconds=600)
    child = start_run(own, "child", parent_run_id=parent.run_id, flush_seconds=600)
    say(child, 0, 2)
    for run in (child, parent):
        run.flush()
        own.client.delete_run(run.run_id)
        own.client._tracking_client.store._hard_delete_run(run.run_id)  # as `mlflow gc` does
    say(child, 2, 4)
    child.finish()
    parent.finish()
    found = send_outbox(own.outbox)
    assert (found.waiting, found.refused) == ([], [])
    status, _, values, run_id = everything(own, "child")
    assert (status, values) == ("FINISHED", [0.0, 1.0, 2.0, 3.0])
    assert run_id != child.run_id
    above = everything(own, "parent")[3]
    assert own.client.get_run(run_id).data.tags["mlflow.parentRunId"] == above


def test_sync_does_not_call_refused_lines_sent(
    own: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    head = Head(new_local_id(), own.uri, own.experiment, "in part", 1, {})
    journal = Journal.create(own.outbox, head)
    journal.append({"op": "tags", "tags": {"bad@name": "1"}})
    journal.append({"op": "artifact", "file": "files/gone.txt", "folder": None})
    journal.append({"op": "end", "status": "FINISHED", "time_ms": 2})
    journal.close()
    assert main(["sync", str(own.outbox)]) == 1
    out = capsys.readouterr().out
    assert "without 2 of its lines" in out
    assert "1 runs sent, 0 left" in out
    assert "2 lines refused" in out
    assert "gone.txt is gone" in out
    (kept,) = (own.outbox.parent / "refused").iterdir()
    assert "bad@name" in (kept / "journal.jsonl").read_text()
