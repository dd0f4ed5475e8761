"""Does a long sweep cost more and more? Memory, handles, threads, database and time, job by job.

    python benchmarks/bench_soak.py [--jobs 500] [--launchers basic,joblib]

Trains hundreds of tiny jobs in one sweep, in one process (`basic`) or in two workers (`joblib`),
and looks at the whole tree of processes twice a second: memory of its own (also where the system
has put it aside), open files, threads, size of the database; and how long each job took by its run.
What is written is the slope of each over the number of finished jobs: a straight line through the
means of twenty stretches, the first of which (imports, packing, caches that fill) is left out, with
its 95% interval (17 degrees of freedom). Flat is an interval that holds 0; the database grows by
its rows. Seconds of the clock depend on what else the machine does, those of the processor hardly.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import record
from scipy.stats import linregress, t

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

STRETCHES = 20
LAUNCHERS = {"basic": [], "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]}
WORDS = [
    *("experiment=demo", "data.size=8", "epochs=1", "warmup_steps=0", "batch_size=16"),
    *("bands.n=6", "evaluation.controls=false", "evaluation.importance=false"),
    *("hardware.threads=1", "tracking.log_model=none", "sweep.report=false", "sweep.live=off"),
    "hydra.sweep.dir=sweep",
]


def sample(root: psutil.Process, database: Path) -> dict[str, float] | None:
    """Look at a process and all that it started; None once it has ended."""
    seen = {"memory_mb": 0.0, "open_files": 0.0, "threads": 0.0, "cpu_s": 0.0}
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            memory = process.memory_full_info()
            files, threads = process.num_fds(), process.num_threads()
            times = process.cpu_times()
            seen["memory_mb"] += (memory.uss + memory.swap) / 1e6
            seen["open_files"] += files
            seen["threads"] += threads
            seen["cpu_s"] += times.user + times.system
    seen["processes"] = len(tree)
    seen["jobs"] = finished(database)
    seen["database_kb"] = database.stat().st_size / 1e3 if database.exists() else 0.0
    return seen


def finished(database: Path) -> int:
    """Count the jobs that the database knows as finished."""
    if not database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as tables:
        try:
            (count,) = tables.execute(
                "SELECT COUNT(*) FROM runs WHERE status = 'FINISHED'"
            ).fetchone()
        except sqlite3.OperationalError:  # locked for a moment, or not made yet
            return 0
    return int(count)


def job_seconds(database: Path) -> list[float]:
    """Return how long each job's run took, in the order of their ends."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as tables:
        rows = tables.execute(
            "SELECT r.end_time - r.start_time FROM runs r JOIN tags t USING (run_uuid) "
            "WHERE t.key = 'hyperspec.kind' AND t.value = 'job' AND r.status = 'FINISHED' "
            "ORDER BY r.end_time"
        ).fetchall()
    return [milliseconds / 1000 for (milliseconds,) in rows]


def slope(jobs: np.ndarray, values: np.ndarray, total: int) -> dict[str, Any]:
    """Fit a line through the means of stretches of jobs; return it with its 95% interval."""
    edges = np.linspace(0, total, STRETCHES + 1)
    places = np.digitize(jobs, edges[1:-1])
    held = [k for k in range(1, STRETCHES) if (places == k).any()]
    x = np.array([jobs[places == k].mean() for k in held])
    y = np.array([values[places == k].mean() for k in held])
    line = linregress(x, y)
    half = float(t.ppf(0.975, len(held) - 2) * line.stderr)
    return {
        "first": round(float(y[0]), 3),
        "last": round(float(y[-1]), 3),
        "per_100_jobs": round(100 * float(line.slope), 4),
        "interval": [round(100 * (float(line.slope) + side * half), 4) for side in (-1, 1)],
    }


def soak(launcher: str, total: int, folder: Path) -> dict[str, Any]:
    """Run one sweep and return its slopes."""
    synthesise(folder / "specimens", SynthSettings(num_specimens=4))
    seeds = ",".join(map(str, range(total)))
    words = [*WORDS, f"data.root={folder / 'specimens'}", "-m", f"seed={seeds}"]
    command = [sys.executable, "-m", "hyperspec.cli.train", *words, *LAUNCHERS[launcher]]
    seen, begun = [], time.monotonic()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        root, database = psutil.Process(process.pid), folder / "mlflow.db"
        while process.poll() is None:
            look = sample(root, database)
            if look is not None and look["jobs"]:
                seen.append(look)
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit((folder / "log.txt").read_text()[-3000:])
    seconds = np.array(job_seconds(database))
    jobs = np.array([look["jobs"] for look in seen])
    kinds = ("memory_mb", "open_files", "threads", "database_kb")
    slopes = {k: slope(jobs, np.array([look[k] for look in seen]), total) for k in kinds}
    # A look sees a job's end up to half a second late: over a stretch of jobs that is little.
    spent = np.diff(np.interp(np.arange(total + 1), jobs, [look["cpu_s"] for look in seen]))
    slopes["job_cpu_seconds"] = slope(np.arange(total), spent, total)
    slopes["job_seconds"] = slope(np.arange(len(seconds)), seconds, len(seconds))
    return {
        "launcher": launcher,
        "jobs": len(seconds),
        "looks": len(seen),
        "processes": int(np.median([look["processes"] for look in seen])),
        "seconds": round(time.monotonic() - begun),
        "slopes": slopes,
    }


def main() -> None:
    """Soak each launcher and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--launchers", default="basic,joblib")
    options = parser.parse_args()
    os.environ["HYPERSPEC_DEVICE"] = "cpu"
    found = []
    for launcher in options.launchers.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found.append(soak(launcher, options.jobs, Path(folder)))
        print(found[-1], flush=True)
        record.write(
            "soak", record.context(("hyperspec-sweeps", "torch", "mlflow")) | {"sweeps": found}
        )


if __name__ == "__main__":
    main()
