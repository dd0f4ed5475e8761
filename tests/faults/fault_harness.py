"""What the faults are injected with: a place to work in, processes, and a second look at the store.

Processes are forked from this one, which has imported everything, so that a start costs little;
each leads a session of its own and is killed like any other. The store is read with plain SQL.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "support"))  # outside of pytest
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow.tracking  # noqa: F401 - imported once, before the forks

import hyperspec.runs.experiment  # noqa: F401 - likewise
from hyperspec.cli.train import main
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.utils.source_tree import changed_source

Ask = Callable[..., list[Any]]
"""Takes a query with ? for each value, and the values; returns the rows."""

changed_source()  # kept for the forks: an edit of the package meanwhile changes no identity


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    fault: str
    expected: str
    seen: str
    ok: bool
    seconds: float = 0.0


@dataclass
class Run:
    """A run as the database has it."""

    run_id: str
    name: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]


@dataclass
class Child:
    """A forked process, the leader of a session."""

    pid: int
    output: Path
    status: int | None = field(default=None)

    def wait(self, seconds: float = 600.0) -> int:
        """Return its exit status, negative for a signal; kill it when it takes too long."""
        deadline = time.monotonic() + seconds
        while self.status is None:
            pid, raw = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(raw)
            elif time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"no end after {seconds:.0f} s:\n{self.text()[-2000:]}")
            else:
                time.sleep(0.01)
        return self.status

    def alive(self) -> bool:
        """Whether it has not ended."""
        if self.status is None:
            pid, raw = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(raw)
        return self.status is None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to it alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def text(self) -> str:
        """What it printed."""
        return self.output.read_text(errors="replace")


@dataclass
class Workshop:
    """A folder with specimens, a packed store and one database of runs for all scenarios."""

    folder: Path
    words: list[str]
    uri: str
    _count: int = 0

    @classmethod
    def open(cls, folder: Path) -> Workshop:
        """Make the specimens."""
        root = synthesise(
            folder / "specimens", SynthSettings(num_specimens=4, size=16, num_bands=40)
        )
        words = ["experiment=demo", "data.size=16", "epochs=2", "warmup_steps=1"]
        words += ["evaluation.controls=false"]
        words += ["hardware.threads=1", f"data.root={root}"]
        words += [f"data.cache_dir={folder / 'cache'}", "evaluation.linear=false"]
        words += ["evaluation.controls=false", "tracking.log_model=none"]
        words += ["tracking.system_metrics=false"]
        return cls(folder, words, f"sqlite:///{folder / 'mlflow.db'}")

    def fresh(self, name: str, uri: str | None = None) -> Place:
        """Return a fresh folder and experiment, in the database of runs or another one."""
        self._count += 1
        made = self.folder / f"{self._count:03d}-{name}"
        made.mkdir()
        return Place(self, made, made.name, uri or self.uri)


@dataclass
class Place:
    """Folder and experiment of one scenario."""

    shop: Workshop
    folder: Path
    experiment: str
    uri: str
    starts: int = 0

    def words(self, *more: str, uri: str | None = None) -> list[str]:
        """Words of a quick command; later ones win."""
        own = [*self.shop.words, f"tracking.uri={uri or self.uri}"]
        own.append(f"tracking.experiment={self.experiment}")
        keys = {word.split("=", 1)[0] for word in more if "=" in word}
        return [w for w in own if w.split("=", 1)[0] not in keys] + list(more)

    def fork(self, call: Callable[[], int]) -> Child:
        """Run a function in a process of its own, in this folder."""
        self.starts += 1
        output = self.folder / f"output{self.starts}.txt"
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return Child(pid, output)
        status = 70
        try:
            os.setsid()
            os.chdir(self.folder)
            handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            for target in (1, 2):
                os.dup2(handle, target)
            # Past whatever stands for them in this process, as under pytest.
            sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
            logging.getLogger("hyperspec").setLevel(logging.NOTSET)  # quiet in the parent alone
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            status = call()
        except BaseException:  # noqa: BLE001 - the process ends here whatever it is
            traceback.print_exc()
            status = 1  # as of any process that ends so
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def start(
        self, *more: str, uri: str | None = None, before: Callable[[], None] | None = None
    ) -> Child:
        """Start ``hyperspec train`` with quick settings; ``before`` runs first in its process."""

        def call() -> int:
            if before is not None:
                before()
            return main(self.words(*more, uri=uri))

        return self.fork(call)

    def runs(self, database: Path | None = None) -> list[Run]:
        """Runs of the experiment, oldest first."""
        with _asking(f"sqlite:///{database}" if database else self.uri) as ask:
            if not ask("SELECT table_name FROM information_schema.tables WHERE table_name='runs'"):
                return []
            found = ask(
                "SELECT r.run_uuid, r.name, r.status FROM runs r JOIN experiments e "
                "ON r.experiment_id = e.experiment_id WHERE e.name = ? ORDER BY r.start_time",
                self.experiment,
            )
            return [Run(*row, *_details(ask, row[0])) for row in found]

    def jobs(self, database: Path | None = None) -> list[Run]:
        """Runs that are no sweeps."""
        return [run for run in self.runs(database) if run.tags["hyperspec.kind"] == "job"]

    def rows(self, run_id: str, key: str, database: Path | None = None) -> list[tuple[int, float]]:
        """Every row of a metric, in order of steps and times."""
        query = "SELECT step, value FROM metrics WHERE run_uuid=? AND key=? ORDER BY step"
        with _asking(f"sqlite:///{database}" if database else self.uri) as ask:
            return [(int(s), float(v)) for s, v in ask(query, run_id, key)]


@contextlib.contextmanager
def _asking(uri: str) -> Iterator[Ask]:
    """Open a store, a SQLite file or a PostgreSQL database, to read it past MLflow."""
    if not uri.startswith("sqlite:"):
        import psycopg

        with psycopg.connect(uri.replace("+psycopg", "")) as postgres:
            yield lambda query, *values: postgres.execute(
                query.replace("?", "%s"),
                values,  # type: ignore[arg-type]
            ).fetchall()
        return
    with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=30)) as base:
        tables = "(SELECT name AS table_name FROM sqlite_master)"
        yield lambda query, *values: base.execute(
            query.replace("information_schema.tables", tables), values
        ).fetchall()


def _details(ask: Ask, run_id: str) -> tuple[dict[str, str], dict[str, str], dict[str, float]]:
    def read(table: str) -> dict[str, str]:
        return dict(ask(f"SELECT key, value FROM {table} WHERE run_uuid=?", run_id))

    metrics = {key: float(value) for key, value in read("latest_metrics").items()}
    return read("tags"), read("params"), metrics


def scores(run: Run) -> dict[str, float]:
    """What a job reached, without what it cost."""
    return {k: v for k, v in run.metrics.items() if not k.startswith(("cost/", "system/"))}


def trained(jobs: Sequence[Run]) -> list[Run]:
    """Finished jobs that took nobody else's result."""
    return [r for r in jobs if r.status == "FINISHED" and "hyperspec.resumed_from" not in r.tags]


def wait_until(what: Callable[[], bool], seconds: float = 120.0, every: float = 0.02) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not seen within {seconds:.0f} s")
        time.sleep(every)


@contextlib.contextmanager
def measured() -> Iterator[Callable[[], float]]:
    """Yield a function that says how many seconds have passed."""
    started = time.monotonic()
    yield lambda: time.monotonic() - started


def judge(fault: str, expected: str, checks: dict[str, bool], note: str = "") -> Row:
    """Make a line of the table: what holds, and what does not."""
    bad = [name for name, ok in checks.items() if not ok]
    seen = f"NOT: {'; '.join(bad)}" if bad else "; ".join(checks)
    return Row(fault, expected, f"{seen}{f' ({note})' if note else ''}", not bad)
