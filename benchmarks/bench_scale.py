"""What many specimens and many jobs cost: simulated stores, fake jobs, real workers.

    python benchmarks/bench_scale.py [--parts costs,workers,jobs,report,store] [--jobs 10000]

``costs``: a step's FLOP and memory on a GPU, predicted. ``workers``: sixteen tiny jobs by one
worker and by eight, each sweep in a fresh folder. ``jobs``: the jobs of the first of these are
copied to ten thousand (`scale_jobs.py`); then MLflow's server is asked what its UI asks, and a
sweep over the same settings is begun, of which nothing is left to train. ``report``: the report on
these jobs, as ``hyperspec report`` makes it. ``store``: see `scale_store.py`.
docs/scale.md says what follows. Seconds of the clock are those of a machine that may be busy;
beside them stand those of the processor. Limits: 60 s for the report, 10 s before the first job.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import record
import scale_jobs
import scale_store
from bench_memory import predict
from bench_soak import sample

from hyperspec.report.load import load_sweep
from hyperspec.report.output import write_report
from hyperspec.runs.identity import find_finished
from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings
from hyperspec.tracking.client import connect
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.ui import ui_command

REPORT_SECONDS, SCAN_SECONDS = 60.0, 10.0
WORDS = [
    *("experiment=demo", "data.size=16", "epochs=2", "warmup_steps=1", "batch_size=16"),
    *("hardware=cpu", "hardware.threads=1", "tracking.log_model=none", "sweep.live=off"),
    *("sweep.report=false", "data.root=specimens"),
]
READ = "read the runs"
FAKE = {"jobs", "report"}
PLANNED = (["bands.n=10"], ["bands.n=50"], ["bands=full"])
ADOPTED = 30  # jobs that are taken over before the sweep is stopped
ASKED = 200  # identities that are looked for
TROUBLE = re.compile(r"WARNING|ERROR|Traceback|locked", re.IGNORECASE)


def command(*words: str) -> list[str]:
    """Return the command of a sweep."""
    return [sys.executable, "-m", "hyperspec.cli.train", *WORDS, "-m", *words]


@contextlib.contextmanager
def timed(
    into: dict[str, dict[str, float]],
    name: str,
    processor: Callable[[], float] = time.process_time,
) -> Iterator[None]:
    """Note seconds of the clock and of a processor, by default of this process."""
    clock, spent = time.perf_counter(), processor()
    yield
    into[name] = {
        "seconds": round(time.perf_counter() - clock, 2),
        "cpu_seconds": round(processor() - spent, 2),
    }
    print(f"{name:32}{into[name]['seconds']:9.2f} s{into[name]['cpu_seconds']:9.2f} s cpu")


def ask(database: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Read rows of a store that others write; none while it is locked or not there yet."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as tables:
        try:
            return tables.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []


def run_workers(folder: Path, workers: int) -> dict[str, Any]:
    """Run one sweep of all templates; say what it cost and what went wrong."""
    synthesise(folder / "specimens", SynthSettings(num_specimens=4, size=16))
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"]
    log, database, looks = folder / "log.txt", folder / "mlflow.db", []
    begun = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(
            command(*scale_jobs.TEMPLATES, *launcher, "hydra.sweep.dir=sweep"),
            cwd=folder,
            stdout=file,
            stderr=file,
        )
        root = psutil.Process(process.pid)
        while process.poll() is None:
            looks += [look] if (look := sample(root, database)) else []
            time.sleep(0.5)
    seconds = time.perf_counter() - begun
    lines = [*log.read_text().splitlines()]
    lines += [line for path in folder.glob("sweep/*/*.log") for line in path.open()]
    rows = ask(
        database,
        "SELECT t.value, r.status, (r.end_time - r.start_time) / 1000.0, m.value, o.value "
        "FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = ? "
        "LEFT JOIN latest_metrics m ON m.run_uuid = r.run_uuid AND m.key = 'cost/train_seconds' "
        "LEFT JOIN latest_metrics o ON o.run_uuid = r.run_uuid AND o.key = 'objective' ORDER BY 1",
        Tag.JOB,
    )
    found = {
        "workers": workers,
        "exit_status": process.returncode,
        "jobs": len(rows),
        "finished": sum(row[1] == "FINISHED" for row in rows),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(max(look["cpu_s"] for look in looks), 1),
        "peak_memory_mb": round(max(look["memory_mb"] for look in looks)),
        "run_seconds_median": round(statistics.median(row[2] for row in rows), 2),
        "train_seconds_median": round(statistics.median(row[3] for row in rows), 2),
        "waiting_in_outbox": len([*folder.glob(".hyperspec/outbox/local-*")]),
        "lines_of_trouble": sorted({line.strip() for line in lines if TROUBLE.search(line)}),
        "objectives": [row[4] for row in rows],
    }
    print({key: value for key, value in found.items() if key != "objectives"}, flush=True)
    return found


def measure_report(uri: str, run_id: str, folder: Path) -> dict[str, Any]:
    """Make the report."""
    steps: dict[str, dict[str, float]] = {}
    with timed(steps, READ):
        data = load_sweep(uri, [run_id])
    with timed(steps, "write the report"):
        paths = write_report(data, folder / "report")
    page = paths.html.stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    settings = sum(len(one.summary.points) for one in paths.cohorts)
    whole = {kind: round(sum(step[kind] for step in steps.values()), 1) for kind in steps[READ]}
    print(f"report {whole}; page {page:.1f} MB, {settings} settings, peak memory {peak:.0f} MB")
    return {
        "steps": steps,
        "page_mb": round(page, 2),
        "settings": settings,
        "whole": whole,
        "peak_memory_mb": round(peak),
    }


def measure_rows(database: Path, num_jobs: int) -> dict[str, Any]:
    """Count rows and bytes of a job by table, with its indexes."""
    tables = (*scale_jobs.TABLES, "runs", "inputs", "input_tags")
    found: dict[str, Any] = {}
    for name in tables:
        ((rows,),) = ask(database, f"SELECT COUNT(*) FROM {name}")
        ((size,),) = ask(
            database,
            "SELECT SUM(pgsize) FROM dbstat WHERE name IN "
            "(SELECT name FROM sqlite_master WHERE tbl_name = ?)",
            name,
        )
        found[name] = {"rows": round(rows / num_jobs, 1), "bytes": round(size / num_jobs)}
        print(f"{name:20}{found[name]['rows']:8} rows{found[name]['bytes']:8} bytes per job")
    return {"by_table": found, "database_mb": round(database.stat().st_size / 1e6, 1)}


def measure_looking(uri: str, jobs: int, database: Path) -> dict[str, Any]:
    """Look for finished and for unknown identities, as each job does at its start."""
    connection, draw = connect(uri, None), np.random.default_rng(0)
    known = [
        value for (value,) in ask(database, "SELECT value FROM tags WHERE key=?", Tag.IDENTITY)
    ]
    some = [str(one) for one in draw.choice(known, ASKED)]
    steps: dict[str, dict[str, float]] = {}
    with timed(steps, f"find {ASKED} finished"):
        found = [find_finished(connection, one) for one in some]
    with timed(steps, f"find {ASKED} unknown"):
        absent = [find_finished(connection, f"{number:016x}") for number in range(ASKED)]
    if not all(found) or any(absent):
        raise SystemExit("a finished job was not found, or one that is none was")
    each = steps[f"find {ASKED} finished"]["cpu_seconds"] / ASKED
    return {"steps": steps, "cpu_ms_each": round(1e3 * each, 2), "all_cpu_s": round(each * jobs)}


def measure_resuming(folder: Path, jobs: list[scale_jobs.Setting]) -> dict[str, Any]:
    """Begin a sweep of which every job is finished; stop it after some jobs."""
    database, begun = folder / "mlflow.db", time.time()
    taken = (
        "SELECT COUNT(*) FROM runs JOIN tags USING (run_uuid) "
        "WHERE key = ? AND start_time > ? AND status = 'FINISHED'"
    )
    started = (
        "SELECT MIN(start_time) FROM runs JOIN tags USING (run_uuid) WHERE key=? AND start_time>?"
    )
    log = folder / "resumed.txt"
    with log.open("w") as file:
        words = [*scale_jobs.words(jobs), "hydra.sweep.dir=resumed"]
        process = subprocess.Popen(command(*words), cwd=folder, stdout=file, stderr=file)
        root, seen = psutil.Process(process.pid), list[tuple[float, int, float]]()
        first_cpu = 0.0
        while process.poll() is None:
            spent = sum(root.cpu_times()[:2])
            ((first,),) = ask(database, started, Tag.JOB, 1000 * begun) or [(None,)]
            if first is not None and not first_cpu:
                first_cpu, first_at = spent, first / 1000 - begun
            ((count,),) = ask(database, taken, Tag.RESUMED, 1000 * begun) or [(0,)]
            seen.append((time.time() - begun, count, spent))
            if count >= ADOPTED or (first_cpu and spent > first_cpu + 60 and not count):
                process.send_signal(signal.SIGTERM)
                process.wait(60)
            time.sleep(0.2)
    if not seen or seen[-1][1] < ADOPTED:
        raise SystemExit(log.read_text()[-3000:])
    after = [look for look in seen if look[1] >= 1]
    number = after[-1][1] - after[0][1]
    found = {
        "before_first_job": {"seconds": round(first_at, 1), "cpu_seconds": round(first_cpu, 1)},
        "adopted_job": {
            "seconds": round((after[-1][0] - after[0][0]) / number, 3),
            "cpu_seconds": round((after[-1][2] - after[0][2]) / number, 3),
        },
    }
    print(found)
    return found


def measure_ui(uri: str) -> dict[str, Any]:
    """Ask MLflow's server what the pages of the UI ask."""
    asked = ui_command(uri, port=5055)
    steps: dict[str, dict[str, float]] = {}
    quiet, own = subprocess.DEVNULL, {**os.environ, **asked.environment}
    with subprocess.Popen(asked.words, env=own, stdout=quiet, stderr=quiet) as server:
        try:
            tree = psutil.Process(server.pid)

            def spent() -> float:
                every = [tree, *tree.children(recursive=True)]
                return sum(sum(one.cpu_times()[:2]) for one in every)

            api = f"{asked.url}/ajax-api/2.0/mlflow"
            _until(lambda: _get(f"{asked.url}/health"))
            experiment = connect(uri, None).known_experiment()
            query = {
                "experiment_ids": [experiment],
                "filter": f"{Tag.KIND.equals('job')} and params.`objective` = 'auto'",
                "order_by": ["metrics.`objective` DESC"],
                "max_results": 100,
            }
            for name in ("table, first time", "table again"):
                with timed(steps, name, spent):
                    page = _get(f"{api}/runs/search", query)
            with timed(steps, "table, next 100", spent):
                _get(f"{api}/runs/search", {**query, "page_token": page["next_page_token"]})
            runs = [run["info"]["run_id"] for run in page["runs"]]
            with timed(steps, "one run's page", spent):
                _get(f"{api}/runs/get?run_id={runs[0]}")
            ids = "&".join(f"run_ids={run}" for run in runs)
            with timed(steps, "curves of 100 runs", spent):
                key = "metric_key=train%2Floss&max_results=320"
                curves = _get(f"{api}/metrics/get-history-bulk-interval?{ids}&{key}")
            if len(runs) != 100 or len(curves["metrics"]) < 100:
                raise SystemExit("the server left out runs")
        finally:
            server.terminate()
    return {"steps": steps}


def _get(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        text = answer.read()
    return json.loads(text) if text.startswith(b"{") else text


def _until(call: Callable[[], object], seconds: float = 120) -> None:
    for _ in itertools.takewhile(lambda t: t < seconds, itertools.count(0, 0.5)):
        with contextlib.suppress(OSError):
            call()
            return
        time.sleep(0.5)
    raise SystemExit("the server does not answer")


def measure_store(folder: Path, jobs: list[scale_jobs.Setting]) -> dict[str, Any]:
    """Measure all that is asked of a store with fake jobs, but the report."""
    database, count = folder / "mlflow.db", len(jobs)
    uri = f"sqlite:///{database}"
    return {
        "jobs": count,
        "rows": measure_rows(database, count),
        "looking": measure_looking(uri, count, database),
        "ui": measure_ui(uri),
        "resuming": measure_resuming(folder, jobs),
    }


def measure_fakes(folder: Path, count: int, parts: list[str], content: dict[str, Any]) -> list[str]:
    """Write fake jobs beside those that were trained, measure, and say what is above a limit."""
    database, jobs, over = folder / "mlflow.db", scale_jobs.settings(count), list[str]()
    parent = scale_jobs.find_parent(database)
    if parent is None:
        parent = scale_jobs.write_jobs(database, jobs, WORDS)
    if "jobs" in parts:
        measured = measure_store(folder, jobs)
        record.write("scale_jobs", {**content, **measured})
        begun = measured["resuming"]["before_first_job"]["cpu_seconds"]
        over += [f"before the first job {begun}"] if begun > SCAN_SECONDS else []
    if "report" in parts:
        report = measure_report(f"sqlite:///{database}", parent, folder)
        record.write("scale_report", {**content, "jobs": count, **report})
        whole = report["whole"]["cpu_seconds"]
        over += [f"report {whole}"] if whole > REPORT_SECONDS else []
    return over


def predict_costs() -> dict[str, Any]:
    """Predict FLOP and memory of a step on a GPU, as ``hyperspec plan`` does."""
    shared = ["data.size=224", "hardware=gpu", "data.residency=mmap", "batch_size=256"]
    found = {}
    for model, bands in itertools.product(("resnet18", "resnet50"), PLANNED):
        cost = predict([*shared, f"model={model}", *bands])
        one = {"tflop_per_step": cost["flop"] / 1e12, "gflop_per_specimen": cost["flop"] / 256e9}
        held = {"parameters_gb": cost["parameters"] / 1e9, "to_come_gb": cost["to_come"] / 1e9}
        found[f"{model} {' '.join(bands)}"] = {k: round(v, 2) for k, v in (one | held).items()}
        print(model, *bands, found[f"{model} {' '.join(bands)}"], flush=True)
    return {"words": shared, "predicted": found}


def main() -> None:
    """Measure the parts that were asked for, and write the record after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="costs,workers,jobs,report,store")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="work here and keep it (a temporary folder)")
    options = parser.parse_args()
    os.environ["HYPERSPEC_DEVICE"] = "cpu"
    parts, over = options.parts.split(","), list[str]()
    content = record.context(("hyperspec-sweeps", "mlflow", "torch", "pandas", "matplotlib"))
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        folder = (options.folder or Path(name)).resolve()
        (folder / "one").mkdir(parents=True, exist_ok=True)
        if "costs" in parts:
            record.write("scale_costs", {**content, **predict_costs()})
        if "workers" in parts or not (folder / "one/mlflow.db").exists():
            alone = run_workers(folder / "one", 1) if {*parts} & {"workers", *FAKE} else {}
        if "workers" in parts:
            both = [alone, run_workers(folder / "many", options.workers)]
            record.write("scale_workers", {**content, "sweeps": both})
        if {*parts} & FAKE:
            over = measure_fakes(folder / "one", options.jobs, parts, content)
        if "store" in parts:
            record.write("scale_store", {**content, **scale_store.measure(folder / "store")})
    if over:
        raise SystemExit(f"above the limits, in seconds of the processor: {', '.join(over)}")


if __name__ == "__main__":
    main()
