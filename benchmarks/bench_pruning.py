"""What pruning saves: the same search with and without it, over several seeds of the sampler.

    python benchmarks/bench_pruning.py [--trials 12] [--seeds 3] [--epochs 32]

Each trial trains a tiny model on small synthetic specimens. Counted are optimizer steps, which no
other load of the machine changes; a pruned trial counts the steps that it took. Score: the best
``val/knn_top1`` of a finished trial, on the validation part that the search looks at. The report
of each epoch's score costs no step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import record

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

SPACE = ["lr=tag(log,interval(0.00001,0.01))", "loss.temperature=tag(log,interval(0.02,2.0))"]
WAYS = {
    "none": [],
    "median": ["hydra.sweeper.pruner.n_startup_trials=3", "hydra.sweeper.pruner.n_warmup_steps=2"],
    "successive_halving": [
        *("hydra.sweeper.pruner.min_resource=4", "hydra.sweeper.pruner.reduction_factor=2")
    ],
    "hyperband": [
        *("hydra.sweeper.pruner.min_resource=4", "hydra.sweeper.pruner.reduction_factor=2")
    ],
}


def search(folder: Path, way: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run one search in a process of its own; return its steps and best score."""
    name = f"{way}-{seed}"
    words = ["experiment=demo", "-m", "search=tpe", *SPACE, "data.root=specimens", "data.size=16"]
    words += ["bands.n=8", "warmup_steps=1", f"epochs={options.epochs}", "hardware.threads=1"]
    words += ["evaluation.every_n_epochs=2", "evaluation.linear=false"]
    words += ["evaluation.controls=false", "log_every_n_steps=1", f"tracking.experiment={name}"]
    words += [f"hydra.sweeper.n_trials={options.trials}", f"hydra.sweeper.study_name={name}"]
    words += [
        f"hydra.sweeper.sampler.seed={100 * seed}",
        "hydra.sweeper.sampler.n_startup_trials=4",
    ]
    words += [f"seed={seed}", f"hydra/sweeper/pruner={way}", *WAYS[way], "sweep.resume=false"]
    done = subprocess.run(
        [sys.executable, "-m", "hyperspec.cli.train", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id], "tags.`hyperspec.kind` = 'job'")
    losses = [client.get_metric_history(run.info.run_id, "train/loss") for run in runs]
    return {
        "pruner": way,
        "seed": seed,
        "trials": len(runs),
        "pruned": sum("hyperspec.pruned" in run.data.tags for run in runs),
        # Lightning numbers steps from 0.
        "steps": sum(1 + max(metric.step for metric in history) for history in losses),
        "best": max(run.data.metrics["objective"] for run in runs if run.info.status == "FINISHED"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--pruners", default="none,median", help="of " + ",".join(WAYS))
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="bench-pruning-") as name:
        folder = Path(name)
        settings = SynthSettings(num_specimens=8, size=16, num_bands=60)
        synthesise(folder / "specimens", settings)
        for seed in range(options.seeds):
            for way in options.pruners.split(","):
                found.append(search(folder, way, seed, options))
                print(found[-1], flush=True)
    print(f"\n{'pruner':20} {'trials':>7} {'pruned':>7} {'steps':>8} {'of none':>8} {'best':>14}")
    whole = sum(row["steps"] for row in found if row["pruner"] == "none")
    for way in options.pruners.split(","):
        rows = [row for row in found if row["pruner"] == way]
        steps, best = sum(row["steps"] for row in rows), [row["best"] for row in rows]
        spread = statistics.stdev(best) if len(best) > 1 else 0.0
        share = f"{steps / whole:8.0%}" if whole else "       ?"
        print(
            f"{way:20} {sum(r['trials'] for r in rows):7} {sum(r['pruned'] for r in rows):7} "
            f"{steps:8} {share} {statistics.mean(best):8.3f} ± {spread:.3f}"
        )
    packages = ("torch", "hydra-core", "optuna", "mlflow")
    print(record.write("pruning", {**record.context(packages), "searches": found}))


if __name__ == "__main__":
    main()
