"""Faults of the tracking server: down, dying, slow, answering 500, losing its answers."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fault_harness import Place, Row, Workshop, judge, scores, wait_until

_SLOW_SECONDS = 1.5


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real tracking server that can be killed and started again."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder, self.port = folder, port or free_port()
        self.database = folder / "server.db"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.database}"]
        command += ["--artifacts-destination", str(self.folder / "server_artifacts")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.txt").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )
        wait_until(self.answers, 180, 0.1)

    def answers(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/health")
                return connection.getresponse().status == 200
        return False

    def kill(self) -> None:
        """Kill it with its workers."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait(30)
            self._process = None


class Proxy:
    """Stands before a server: ``pass``, ``slow``, ``500``, or ``deaf``: answers get lost."""

    def __init__(self, target: int) -> None:
        self.mode, self.target, self.lost = "pass", target, 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

            def _serve(self) -> None:
                proxy.serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request as the mode says."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        mode = self.mode
        if mode == "500":
            self._answer(handler, 500, b'{"error_code": "INTERNAL_ERROR", "message": "planned"}')
            return
        if mode == "slow":
            time.sleep(_SLOW_SECONDS)
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        headers = {k: v for k, v in handler.headers.items() if k.lower() != "host"}
        with contextlib.closing(connection):
            connection.request(handler.command, handler.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        if mode == "deaf" and handler.command == "POST" and "search" not in handler.path:
            self.lost += 1
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        self._answer(handler, answer.status, content)

    @staticmethod
    def _answer(handler: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
        with contextlib.suppress(OSError):
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serving(place: Place) -> Iterator[Server]:
    """A server in a scenario's folder, killed at the end."""
    server = Server(place.folder)
    try:
        yield server
    finally:
        server.kill()


WORDS = ("-m", "bands.n=5,6", "epochs=30", "log_every_n_steps=1", "tracking.flush_seconds=0.2")


def reference(shop: Workshop) -> dict[str, dict[str, float]]:
    """What the jobs reach with a store that is well: scores and losses by number of bands."""
    place = shop.fresh("reference")
    assert place.start(*WORDS, "sweep.resume=false").wait(600) == 0
    return {run.params["bands.n"]: scores(run) for run in place.jobs()}


def whole(place: Place, server: Server, expected: dict[str, dict[str, float]]) -> dict[str, bool]:
    """Compare what the server has with what it should have."""
    runs = place.runs(server.database)
    jobs = [run for run in runs if run.tags["hyperspec.kind"] == "job"]
    parents = [run for run in runs if run.tags["hyperspec.kind"] == "sweep"]
    last = parents[-1].run_id if parents else ""
    rows = [place.rows(run.run_id, "train/loss", server.database) for run in jobs]
    once = all(len({step for step, _ in found}) == len(found) > 0 for found in rows)
    outbox = place.folder / ".hyperspec" / "outbox"
    left = [p.name for p in outbox.iterdir()] if outbox.is_dir() else []
    return {
        "2 jobs and 1 parent FINISHED": [r.status for r in runs] == ["FINISHED"] * 3
        and len(jobs) == 2,
        "scores as without trouble": {r.params["bands.n"]: scores(r) for r in jobs} == expected,
        "each step of the loss once": once and len(rows) == 2 and len(rows[0]) == len(rows[1]),
        "jobs under their parent": all(r.tags["mlflow.parentRunId"] == last for r in jobs),
        "outbox empty": not left,
    }


def sync(place: Place) -> int:
    """Run ``hyperspec sync`` in the scenario's folder."""

    def call() -> int:
        from hyperspec.cli.main import main

        return main(["sync"])

    return place.fork(call).wait(300)


def down_at_start(shop: Workshop, expected: dict[str, dict[str, float]]) -> Row:
    """The server is down from start to end, and comes back afterwards."""
    place = shop.fresh("down")
    with serving(place) as server:
        child = place.start(*WORDS, uri=server.uri)
        status = child.wait(600)
        server.start()
        synced = sync(place)
        twice = sync(place)
        checks = whole(place, server, expected)
    return judge(
        "tracking server down from start to end",
        "training goes on, metrics kept on disk and replayed once",
        {
            "sweep ends with 0": status == 0,
            "names the outbox": "hyperspec sync" in child.text(),
            "sync delivers": synced == 0 and twice == 0,
            **checks,
        },
    )


def dies_in_the_middle(shop: Workshop, expected: dict[str, dict[str, float]]) -> Row:
    """The server is killed while the first job trains, and started again while one trains."""
    place = shop.fresh("middle")
    with serving(place) as server:
        server.start()
        child = place.start(*WORDS, "bands.n=5,6", uri=server.uri)
        wait_until(lambda: _logged(place, server) > 3, 300)
        server.kill()
        time.sleep(3.0)
        alive = child.alive()
        server.start()
        status = child.wait(600)
        delivered = sync(place) if (place.folder / ".hyperspec/outbox").is_dir() else 0
        checks = whole(place, server, expected)
    return judge(
        "tracking server killed in the middle and started again",
        "training not slowed, metrics kept on disk and replayed once",
        {"sweep ends with 0": status == 0 and delivered == 0, **checks},
        "server away while training" if alive else "the sweep was over before the server was back",
    )


def dies_at_the_end(shop: Workshop, expected: dict[str, dict[str, float]]) -> Row:
    """The server dies in the last job and is back at the next start of the command."""
    place = shop.fresh("end")
    with serving(place) as server:
        server.start()
        child = place.start(*WORDS, uri=server.uri)
        wait_until(lambda: len(_finished(place, server)) >= 1, 300)
        server.kill()
        status = child.wait(600)
        server.start()
        second = place.start(*WORDS, uri=server.uri).wait(600)
        runs = place.runs(server.database)
        jobs = [run for run in runs if run.tags["hyperspec.kind"] == "job"]
        firsts = [r for r in jobs if "hyperspec.resumed_from" not in r.tags]
        own = {r.params["bands.n"]: scores(r) for r in firsts}
        copies = {r.params["bands.n"]: scores(r) for r in jobs if r not in firsts}
    return judge(
        "tracking server killed at the end; same command when it is back",
        "metrics replayed once at the next start, finished jobs not trained again",
        {
            "both starts end with 0": (status, second) == (0, 0),
            "all runs FINISHED": {run.status for run in runs} == {"FINISHED"},
            "2 jobs trained, scores as without trouble": own == expected and len(firsts) == 2,
            "the second start took both over": copies == expected,
        },
    )


def troubled(shop: Workshop, mode: str, expected: dict[str, dict[str, float]]) -> Row:
    """A proxy before the server is slow, answers 500 or loses answers while the jobs train."""
    place = shop.fresh(mode)
    with serving(place) as server:
        server.start()
        proxy = Proxy(server.port)
        child = place.start(*WORDS, uri=proxy.uri)
        wait_until(lambda: _logged(place, server) > 0, 300)
        proxy.mode = mode
        if mode == "slow":
            status = child.wait(900)
        else:
            wait_until(_over(child.alive, time.monotonic() + 6.0), 60)
            proxy.mode = "pass"
            status = child.wait(600)
        proxy.mode = "pass"
        delivered = sync(place) if (place.folder / ".hyperspec/outbox").is_dir() else 0
        checks = whole(place, server, expected)
        proxy.close()
    words = {"slow": f"{_SLOW_SECONDS} s late with each answer", "500": "answers 500"}
    return judge(
        f"tracking server {words.get(mode, 'takes requests, and its answers get lost')}",
        "training not slowed, metrics kept on disk and replayed once",
        {"sweep ends with 0": status == 0 and delivered == 0, **checks},
        f"{proxy.lost} answers lost" if mode == "deaf" else "",
    )


def _over(alive: Callable[[], bool], deadline: float) -> Callable[[], bool]:
    return lambda: not alive() or time.monotonic() > deadline


def _logged(place: Place, server: Server) -> int:
    jobs = [run for run in _known(place, server) if run.tags["hyperspec.kind"] == "job"]
    return sum(len(place.rows(run.run_id, "train/loss", server.database)) for run in jobs)


def _finished(place: Place, server: Server) -> list[str]:
    jobs = [run for run in _known(place, server) if run.tags["hyperspec.kind"] == "job"]
    return [run.run_id for run in jobs if run.status == "FINISHED"]


def _known(place: Place, server: Server) -> list:  # type: ignore[type-arg]
    import sqlite3

    try:
        return place.runs(server.database)
    except (sqlite3.Error, KeyError):  # tables not there yet
        return []


def locked_file(shop: Workshop, seconds: float = 60.0) -> Row:
    """Another process holds the SQLite file of the runs while jobs train."""
    import sqlite3

    place = shop.fresh("locked")
    database = place.folder / "own.db"
    uri = f"sqlite:///{database}"
    child = place.start(*WORDS, uri=uri)

    def begun() -> bool:
        with contextlib.suppress(sqlite3.Error, KeyError):
            return any("hyperspec.identity" in run.tags for run in place.jobs(database))
        return False

    wait_until(begun, 300)
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as base:
        base.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        base.rollback()
    status = child.wait(600)
    jobs = place.jobs(database)
    return judge(
        f"SQLite file of the runs locked for {seconds:.0f} s",
        "waits with backoff; nothing lost",
        {
            "sweep ends with 0": status == 0,
            "2 jobs FINISHED": [run.status for run in jobs] == ["FINISHED"] * 2,
            "30 steps of the loss each": all(
                len(place.rows(run.run_id, "train/loss", database)) == 30 for run in jobs
            ),
        },
    )
