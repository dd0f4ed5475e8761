"""Faults of the process that runs the sweep, and of several of them."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from fault_harness import Child, Place, Row, Run, Workshop, judge, scores, trained, wait_until
from postgres_server import create_database, postgres_server

from hyperspec.tracking.client import connect
from hyperspec.tracking.run import start_run
from hyperspec.utils.process import is_dead

SEED = 20261123
_LEAVE = 10.0  # seconds that a worker may outlive the signal to its controller


def _table(runs: list[Run]) -> dict[str, dict[str, float]]:
    """The last sweep's table: scores of its finished jobs by number of bands."""
    last = [run for run in runs if run.tags["hyperspec.kind"] == "sweep"][-1].run_id
    jobs = [run for run in runs if run.tags.get("mlflow.parentRunId") == last]
    return {run.params["bands.n"]: scores(run) for run in jobs if run.status == "FINISHED"}


@contextlib.contextmanager
def _database(kind: str) -> Iterator[str | None]:
    """A store for runs; None is the workshop's own SQLite file."""
    if kind == "SQLite":
        yield None
        return
    with postgres_server() as server:
        yield create_database(server, "runs")


def killed_controller(
    shop: Workshop, kills: int = 50, launcher: str = "basic", database: str = "SQLite"
) -> Row:
    """The controller is killed at a random moment; the same command follows."""
    words = ["-m", "bands.n=5,6,7", "sweep.checkpoint_seconds=0", "epochs=6"]
    if launcher != "basic":
        words += [f"hydra/launcher={launcher}", "hydra.launcher.n_jobs=2"]
    with _database(database) as uri:
        unbroken = shop.fresh("unbroken", uri)
        started = time.monotonic()
        assert unbroken.start(*words).wait() == 0
        lasted = time.monotonic() - started
        draw = random.Random(f"{SEED} {launcher} {database}")
        moments = [draw.uniform(0.05, lasted) for _ in range(kills)]
        bad = _kill_at(moments, shop, uri, words, _table(unbroken.runs()))
    return judge(
        f"controller SIGKILL at random moments ({kills}, seed {SEED}), {launcher}, {database}",
        "the same command again ends with exactly the planned jobs, none RUNNING, no directory "
        "overwritten, same table",
        {"all of it, each time": True} if not bad else dict.fromkeys(bad[:5], False),
        f"between {min(moments):.1f} and {max(moments):.1f} s of {lasted:.1f} s",
    )


def _kill_at(
    moments: list[float],
    shop: Workshop,
    uri: str | None,
    words: list[str],
    expected: dict[str, dict[str, float]],
) -> list[str]:
    """Kill a controller at each moment, start it again, and say what does not hold then."""
    bad: list[str] = []
    for number, moment in enumerate(moments):
        place = shop.fresh("kill", uri)
        child = place.start(*words)
        time.sleep(moment)
        child.kill()
        child.wait()
        again = place.start(*words)
        if again.wait() != 0:
            bad.append(f"kill {number} at {moment:.1f} s: exit status {again.status}")
        bad += [f"kill {number} at {moment:.1f} s: {text}" for text in _faults(place, expected)]
    return bad


def _faults(place: Place, expected: dict[str, dict[str, float]]) -> list[str]:
    """Say what does not hold after a kill and a second start."""
    runs = place.runs()
    jobs = [run for run in runs if run.tags["hyperspec.kind"] == "job"]
    parents = [run for run in runs if run.tags["hyperspec.kind"] == "sweep"]
    found = [f"{run.name} is RUNNING" for run in runs if run.status == "RUNNING"]
    if _table(runs) != expected:
        found.append(f"another table: {_table(runs)}")
    own = [r for r in jobs if r.tags["mlflow.parentRunId"] == parents[-1].run_id]
    if len(own) != 3:
        found.append(f"{len(own)} jobs under the last parent")
    counts = [run.params["bands.n"] for run in trained(jobs)]
    if sorted(counts) != ["5", "6", "7"]:
        found.append(f"trained to the end: {counts}")
    folders = list(place.folder.glob("multirun/*/*/*/sweep.json"))
    if len(folders) != len(parents):
        found.append(f"{len(folders)} folders of {len(parents)} sweeps")
    return found


def _alive(process: psutil.Process) -> bool:
    """Say whether a process still runs; one that nobody has reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stopped_controller(shop: Workshop, number: int, launcher: str) -> Row:
    """The controller is asked to stop while jobs train."""
    place = shop.fresh("stopped")
    words = ["-m", "bands.n=5,6", "epochs=150", "sweep.checkpoint_seconds=0"]
    more = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    child = place.start(*words, *more)
    wait_until(lambda: _has_checkpoint(shop), 300)
    workers = psutil.Process(child.pid).children(recursive=True)
    started = time.monotonic()
    child.kill(number)
    while (left := [worker for worker in workers if _alive(worker)]) and (
        time.monotonic() - started < _LEAVE
    ):
        time.sleep(0.05)
    gone = time.monotonic() - started
    status = child.wait(120)
    first = place.runs()
    kept = _has_checkpoint(shop)
    again = place.start(*words).wait(900)
    runs = place.runs()
    resumed = [run for run in runs if "hyperspec.continued_from" in run.tags]
    return judge(
        f"controller {signal.Signals(number).name}, {launcher} launcher",
        "workers gone within 10 s, checkpoint saved, parent KILLED, resume works",
        {
            f"{len(workers)} workers gone": not left,
            "checkpoint kept": kept,
            "parent KILLED": first[0].status == "KILLED",
            "none RUNNING": all(run.status != "RUNNING" for run in first),
            "exit status not 0": status != 0,
            "resumed from it": again == 0 and bool(resumed) and len(_table(runs)) == 2,
        },
        f"{gone:.1f} s",
    )


def _has_checkpoint(shop: Workshop) -> bool:
    return any((shop.folder / "cache").glob("interrupted/*/?.ckpt"))


def two_controllers(shop: Workshop) -> Row:
    """The same command is given twice at the same time."""
    place = shop.fresh("twice")
    words = ["-m", "bands.n=5,6,7", "epochs=40"]
    both = [place.start(*words) for _ in range(2)]
    statuses = [child.wait(600) for child in both]
    jobs = place.jobs()
    folders = list(place.folder.glob("multirun/*/*/*/sweep.json"))
    parents = {run.tags["mlflow.parentRunId"] for run in jobs}
    return judge(
        "two controllers on one sweep",
        "second waits, refuses, or joins as a worker by option",
        {
            "both end with 0": statuses == [0, 0],
            "no job trained twice": sorted(r.params["bands.n"] for r in trained(jobs))
            == ["5", "6", "7"],
            "each has its 3 jobs": len(parents) == 2 and len(jobs) == 6,
            "a folder each": len(folders) == 2,
        },
        "the second waits job by job",
    )


def fresh_databases(shop: Workshop, count: int = 16) -> Row:
    """Many processes meet an empty tracking store and an empty study."""
    place = shop.fresh("crowd")
    uri = f"sqlite:///{place.folder / 'fresh.db'}"

    def work() -> int:
        import optuna

        from hyperspec.search.storage import open_storage
        from hyperspec.search.study import study_lock

        connection = connect(uri, place.experiment)
        with start_run(connection, "job") as run:
            run.log_metrics({"a": 1.0}, 1)
        address = f"sqlite:///{place.folder / 'study.db'}"
        with study_lock(address):
            optuna.create_study(
                study_name="s", storage=open_storage(address, fresh=True), load_if_exists=True
            )
        return 0

    crowd = [place.fork(work) for _ in range(count)]
    statuses = [child.wait(600) for child in crowd]
    runs = place.runs(place.folder / "fresh.db")
    with sqlite3.connect(place.folder / "study.db") as base:
        studies = base.execute("SELECT count(*) FROM studies").fetchone()[0]
    return judge(
        f"{count} jobs at once on fresh databases",
        "no error, one experiment",
        {
            f"{count} processes end with 0": statuses == [0] * count,
            f"{count} runs FINISHED in one experiment": [r.status for r in runs]
            == ["FINISHED"] * count,
            "one study": studies == 1,
        },
    )


def clocks_and_locks(shop: Workshop) -> Row:
    """The clock jumps while a run lives; locks of dead processes lie around."""
    place = shop.fresh("clock")
    flag, over = place.folder / "ready", place.folder / "over"

    def live() -> int:
        with start_run(connect(shop.uri, place.experiment), "alive"):
            flag.write_text("")
            wait_until(over.exists, 600)
        return 0

    def reap_with(offset: float) -> Child:
        def call() -> int:
            from hyperspec.tracking.cleanup import catch_up

            real = time.time
            time.time = lambda: real() + offset  # type: ignore[method-assign]
            catch_up(connect(shop.uri, place.experiment))
            return 0

        return place.fork(call)

    living = place.fork(live)
    wait_until(flag.exists)
    statuses = [reap_with(offset).wait() for offset in (864000.0, -864000.0)]
    before = place.runs()[0].status
    still = not is_dead(*_signature(place))
    over.write_text("")
    living.wait()
    stale = _stale_locks(shop)
    status = place.start("-m", "bands.n=5").wait()
    return judge(
        "clock jump, stale lock",
        "no false orphan",
        {
            "a living run is not closed at +10 and -10 days": before == "RUNNING"
            and still
            and statuses == [0, 0],
            "it ends FINISHED": place.runs()[0].status == "FINISHED",
            f"{stale} old lock files stop nobody": status == 0 and stale > 0,
        },
    )


def _signature(place: Place) -> tuple[str, str]:
    tags = place.runs()[0].tags
    return tags["hyperspec.host"], tags["hyperspec.process"]


def _stale_locks(shop: Workshop) -> int:
    """Put lock files where ours are, as a killed process leaves them; return how many."""
    folders = [shop.folder, shop.folder / ".hyperspec-claims", shop.folder / "cache"]
    found: list[Path] = []
    for folder in folders:
        folder.mkdir(exist_ok=True)
        found += list(folder.glob("*.lock")) + list(folder.glob(".*.lock"))
    found += [shop.folder / ".mlflow.db.lock"]
    for path in found:
        path.write_text("999999999\n")
    return len(found)
