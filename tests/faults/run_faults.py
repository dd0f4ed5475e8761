"""``make faults``: inject every fault, print the table, write it to docs/faults.md.

Usage: run_faults.py [--only WORD] [--kills N] [--no-write]
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import fault_controller
import fault_files
import fault_jobs
import fault_server
import fault_store
import fault_study
from fault_harness import Row, Workshop
from postgres_server import is_installed

DOCS = Path(__file__).parents[2] / "docs" / "faults.md"
_NAMED = ("torch", "pytorch-lightning", "mlflow", "optuna", "hydra-core")
RAY = find_spec("ray") is not None
POSTGRES = is_installed() and find_spec("psycopg") is not None


def scenarios(shop: Workshop, kills: int) -> Iterator[tuple[str, Callable[[], Row]]]:
    """All scenarios by name, in the order of the table."""
    import signal

    known: dict[str, dict[str, float]] = {}

    def server(scenario: Callable[..., Row], *more: object) -> Callable[[], Row]:
        def call() -> Row:
            if not known:
                known.update(fault_server.reference(shop))
            return scenario(shop, *more, known)

        return call

    yield "results", partial(fault_jobs.bad_results, shop)
    yield "memory", partial(fault_jobs.out_of_memory, shop)
    yield "worker_kill", partial(fault_jobs.killed_worker, shop, signal.SIGKILL)
    yield "worker_segv", partial(fault_jobs.killed_worker, shop, signal.SIGSEGV)
    if RAY:
        yield "worker_ray", partial(fault_jobs.killed_worker, shop, signal.SIGKILL, "ray")
    launchers = ("basic", "joblib", "ray") if RAY else ("basic", "joblib")
    databases = ("SQLite", "PostgreSQL") if POSTGRES else ("SQLite",)
    pairs = [(launcher, database) for database in databases for launcher in launchers]
    for place, pair in enumerate(pairs):
        share = kills // len(pairs) + (place < kills % len(pairs))
        if share:
            name = f"kills_{pair[0]}_{pair[1].lower()}"
            yield name, partial(fault_controller.killed_controller, shop, share, *pair)
    for launcher in ("basic", "joblib"):
        for number in (signal.SIGTERM, signal.SIGINT):
            name = f"stop_{launcher}_{number.name.lower()}"
            yield name, partial(fault_controller.stopped_controller, shop, number, launcher)
    yield "space", partial(fault_study.changed_space, shop)
    yield "server_down", server(fault_server.down_at_start)
    yield "server_middle", server(fault_server.dies_in_the_middle)
    yield "server_end", server(fault_server.dies_at_the_end)
    for mode in ("slow", "500", "deaf"):
        yield f"server_{mode}", server(fault_server.troubled, mode)
    yield "runs_locked", partial(fault_server.locked_file, shop)
    for what in ("run", "parent", "experiment"):
        yield f"deleted_{what}", server(fault_store.deleted, what)
    yield "moved", partial(fault_store.moved_and_copied, shop)
    yield "crowd", partial(fault_controller.fresh_databases, shop)
    yield "study_locked", partial(fault_study.locked_study, shop)
    yield "study_gone", partial(fault_study.gone_study, shop)
    yield "disk_full", partial(fault_files.full_disk, shop)
    yield "damaged", partial(fault_files.damaged_checkpoint, shop)
    yield "pickle", partial(fault_files.malicious_pickle, shop)
    yield "words", partial(fault_files.wrong_words, shop)
    yield "twice", partial(fault_controller.two_controllers, shop)
    yield "data", partial(fault_files.bad_data, shop)
    yield "clock", partial(fault_controller.clocks_and_locks, shop)


def attempt(name: str, scenario: Callable[[], Row]) -> Row:
    """Run one scenario; what goes wrong in it is a line of the table too."""
    started = time.monotonic()
    try:
        row = scenario()
    except Exception as error:  # noqa: BLE001 - the others are run all the same
        traceback.print_exc()
        row = Row(name, "", f"{type(error).__name__}: {str(error)[-300:]}", False)
    return replace(row, seconds=time.monotonic() - started)


def as_markdown(rows: list[Row], seconds: float) -> str:
    """Return the page."""
    versions = ", ".join(f"{name} {version(name)}" for name in _NAMED)
    lines = [
        "# Faults that a sweep survives",
        "",
        "Written by `make faults`: it injects each fault with real processes, servers and signals",
        "into sweeps of a small model on synthetic cubes, and fails when one does not hold.",
        "`make faults ONLY=server` runs a part, `FAULTS_KILLS=10` fewer kills.",
        "",
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {seconds / 60:.0f} min on "
        f"{os.cpu_count()} cores ({platform.system()}, Python {platform.python_version()}); "
        f"{versions}; seed of the random moments {fault_controller.SEED}.",
        "",
        "| fault | expected | seen | holds | s |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row.fault, row.expected, row.seen, "yes" if row.ok else "**no**"]
        cells.append(f"{row.seconds:.0f}")
        lines.append("| " + " | ".join(" ".join(c.replace("|", "/").split()) for c in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the scenarios; return 1 when one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=os.environ.get("ONLY", ""), help="part of the names")
    parser.add_argument("--kills", type=int, default=int(os.environ.get("FAULTS_KILLS", "50")))
    parser.add_argument("--no-write", action="store_true", help="leave docs/faults.md alone")
    words = parser.parse_args()
    logging.getLogger("hyperspec").setLevel(logging.ERROR)
    for there, what in ((RAY, "ray"), (POSTGRES, "PostgreSQL or psycopg")):
        if not there:
            print(f"left out: what needs {what}, which is not installed")
    rows, started = list[Row](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        shop = Workshop.open(Path(folder))
        for name, scenario in scenarios(shop, words.kills):
            if words.only in name:
                row = attempt(name, scenario)
                rows.append(row)
                print(f"{'ok  ' if row.ok else 'FAIL'} {row.seconds:6.1f} s  {name}: {row.seen}")
                sys.stdout.flush()
    if not words.only and not words.no_write:
        DOCS.write_text(as_markdown(rows, time.monotonic() - started), encoding="utf-8")
    bad = sum(not row.ok for row in rows)
    print(f"{len(rows) - bad} of {len(rows)} hold")
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
