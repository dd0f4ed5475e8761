"""How long a report on many jobs takes, and how heavy its page is.

    python benchmarks/bench_report.py [--jobs 1000] [--out FOLDER]

Fake jobs of 50 metrics each, with the histories, predictions and parameters that training logs,
are written into a fresh SQLite store; then the report is made as ``hyperspec report`` makes it.
Limits: 20 s for 1,000 jobs, 8 MB for the page.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import record

from hyperspec.report.load import load_sweep
from hyperspec.report.output import sections, write_report
from hyperspec.report.summary import summarise
from hyperspec.tracking import names
from hyperspec.tracking.client import Connection, connect
from hyperspec.tracking.contract import Artifact, Param, Tag
from hyperspec.tracking.run import JobRun, start_run

LIMIT_SECONDS, LIMIT_MB = 20.0, 8.0
NUM_SPECIMENS, NUM_METRICS, NUM_STEPS = 64, 50, 30
AXIS_NM = np.linspace(348.0, 810.0, 408)
GAIN = {"uniform": 0.0, "random": -0.04, "fngbs": 0.03, "mutual_information": 0.05}
COUNTS = (5, 10, 20, 50, 100)
TEMPERATURES = (0.05, 0.1, 0.2, 0.4, 0.8)
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def accuracy(strategy: str, n: int, temperature: float, lr: float) -> float:
    """Return a made-up accuracy that rises with bands and is best at one temperature and rate."""
    rise = 0.45 + 0.4 * (1 - np.exp(-n / 15))
    hill = 0.06 * np.log(temperature / 0.1) ** 2 + 0.02 * np.log(lr / 1e-3) ** 2
    return float(np.clip(rise + GAIN[strategy] - hill, 0.1, 0.97))


def fake_job(
    parent: JobRun, strategy: str, n: int, temperature: float, lr: float, seed: int
) -> None:
    """Write one finished job."""
    key = [seed, n, round(1e4 * temperature), round(1e6 * lr), len(strategy)]
    draw = np.random.default_rng(key)
    own = accuracy(strategy, n, temperature, lr)
    right = draw.random(NUM_SPECIMENS) < own
    untrained = draw.random(NUM_SPECIMENS) < 0.4
    found = np.sort(draw.choice(408, n, replace=False))
    nm = AXIS_NM[found] if strategy == "random" else AXIS_NM[np.linspace(0, 407, n).astype(int)]
    score = float(right.mean())
    scores = {
        "objective": own + 0.02 * draw.normal(),
        "test/knn_top1": score,
        "test/knn_top1_low": score - 0.1,
        "test/knn_top1_high": min(score + 0.1, 1.0),
        "control/untrained_knn_top1": float(untrained.mean()),
        "cost/train_seconds": 20 + 0.2 * n + draw.normal(),
        "cost/peak_memory_mb": 600 + 2.0 * n,
        "cost/samples_per_second": 900 / (1 + n / 50),
    }
    scores["val/knn_top1"] = scores["objective"]
    scores |= {f"extra/{i}": 0.5 for i in range(NUM_METRICS - len(scores) - 1)}
    run = start_run(
        parent.connection,
        f"{strategy} n={n:03d} t={temperature:g} lr={lr:g} seed={seed}",
        parent_run_id=parent.run_id,
        tags={
            Tag.STRATEGY: strategy,
            Tag.NUM_BANDS: str(n),
            Tag.WAVELENGTHS: names.as_text([round(float(v), 2) for v in nm]),
            Tag.NUM_CLASSES: "8",
        },
        params={
            "bands": strategy,
            "bands.n": str(n),
            "bands.count": str(n),
            "loss.temperature": str(temperature),
            "lr": str(lr),
            "seed": str(seed),
            "objective": "auto",
            **{f"fixed.{i}": "1" for i in range(40)},
        },
    )
    with run:
        steps = np.linspace(1, 600, NUM_STEPS).astype(int)
        losses = 1.5 + 3 * np.exp(-steps / 150) + 0.05 * draw.normal(size=NUM_STEPS)
        for step, loss in zip(steps, losses, strict=True):
            run.log_metrics({"train/loss": float(loss)}, int(step))
        for step, share in zip(steps[::6], np.linspace(0.4, 0.95, 5), strict=True):
            run.log_metrics({"val/knn_top1": own * float(share)}, int(step))
        run.log_metrics(scores, 600)
        specimens = [f"s{i % 8}/{i}" for i in range(NUM_SPECIMENS)]
        files = [f"{s}.bil" for s in specimens]
        table = pd.DataFrame({"file": files, "specimen": specimens, "label": "s0"})
        kept = table.assign(knn="s0", knn_correct=right.astype(int))
        run.log_text(kept.to_csv(index=False), Artifact.PREDICTIONS)
        beside = table.assign(untrained_knn="s0", untrained_knn_correct=untrained.astype(int))
        run.log_text(beside.to_csv(index=False), Artifact.CONTROLS)


def fake_sweep(connection: Connection, num_jobs: int) -> str:
    """Write a sweep of so many jobs over strategy, bands, temperature, rate and seed."""
    parent = start_run(
        connection,
        "temperature_lr fake",
        kind="sweep",
        tags={Tag.STUDY: "fake", Tag.COMMAND: "hyperspec train -m ..."},
        params={Param.MARGIN: "0.02"},
    )
    settings = itertools.product(GAIN, COUNTS, TEMPERATURES, RATES)
    seeds = -(-num_jobs // (len(GAIN) * len(COUNTS) * len(TEMPERATURES) * len(RATES)))
    jobs = list(itertools.product(settings, range(seeds)))[:num_jobs]
    for (strategy, n, temperature, lr), seed in jobs:
        fake_job(parent, strategy, n, temperature, lr, seed)
    parent.finish()
    return parent.run_id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="keep store and report here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-report-") as name:
        folder = options.out or Path(name)
        uri = f"sqlite:///{folder.resolve()}/mlflow.db"
        run_id = fake_sweep(connect(uri, "fake"), options.jobs)
        marks = [("begin", time.perf_counter(), time.process_time())]

        def mark(step: str) -> None:
            marks.append((step, time.perf_counter(), time.process_time()))

        data = load_sweep(uri, [run_id])
        mark("read runs")
        summary = summarise(data)
        mark("fold into settings")
        sections(data, summary)
        mark("draw charts")
        paths = write_report(load_sweep(uri, [run_id]), folder / "report")
        mark("whole report")
        steps = {
            after[0]: {"seconds": after[1] - before[1], "cpu_seconds": after[2] - before[2]}
            for before, after in itertools.pairwise(marks)
        }
        megabytes = paths.html.stat().st_size / 1e6
    for step, cost in steps.items():
        print(f"{step:20}{cost['seconds']:7.1f} s {cost['cpu_seconds']:7.1f} s of processor")
    print(f"{'page':20}{megabytes:7.1f} MB")
    content = {**record.context(("matplotlib", "mlflow", "optuna", "pandas")), "steps": steps}
    record.write("report", {**content, "jobs": options.jobs, "page_mb": megabytes})
    if steps["whole report"]["seconds"] > LIMIT_SECONDS or megabytes > LIMIT_MB:
        raise SystemExit(f"above the limit of {LIMIT_SECONDS:g} s or {LIMIT_MB:g} MB")


if __name__ == "__main__":
    main()
