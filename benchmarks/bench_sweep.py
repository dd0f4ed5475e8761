"""What a sweep costs beyond its jobs' training, beside a shell loop of single commands.

    python benchmarks/bench_sweep.py [--jobs 12] [--loop 6] [--profile]

The jobs train a tiny model for two epochs on 32 small specimens. Overhead of a job: from its start
to the start of the next one, less ``cost/train_seconds``; for the loop, the time of a command less
the same. The first job of a sweep, which imports and packs, is told apart. ``processor`` is the
same overhead in seconds of the processor, of all threads: what other processes take does not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import record

from hyperspec.testing.synthetic.generate import synthesise
from hyperspec.testing.synthetic.settings import SynthSettings

WORDS = ["experiment=demo", "data.size=16", "epochs=2", "warmup_steps=1", "hardware.threads=1"]


TRAIN = ("-m", "hyperspec.cli.train")
SWEEP_JOBS = (str(Path(__file__).with_name("sweep_jobs.py")),)


def command(folder: Path, *words: str, program: Sequence[str] = TRAIN) -> tuple[float, str]:
    """Run one command in a folder; return its seconds and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *program, *WORDS, *words],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - started, done.stdout


def jobs(folder: Path, experiment: str) -> list[tuple[float, float]]:
    """Return start and training seconds of each job, oldest first."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], "tags.`hyperspec.kind` = 'job'")
    return sorted((r.info.start_time / 1000, r.data.metrics["cost/train_seconds"]) for r in runs)


def processor_beyond(cost: dict[str, list[float]]) -> float:
    """Return the median overhead of the jobs after the first, of what ``sweep_jobs.py`` prints."""
    later = zip(cost["starts"][1:], cost["starts"][2:], cost["trained"][1:], strict=False)
    return statistics.median(end - start - trained for start, end, trained in later)


def plan_seconds() -> float:
    """Return how long composing and checking a hundred jobs takes, before the first one starts."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from hyperspec.config import config_dir, groups
    from hyperspec.sweeps.validation import make_plan

    groups.register()
    words = ["bands.n=range(1,11)", "loss.temperature=0.05,0.1,0.2,0.3,0.4", "lr=1e-4,1e-3"]
    with initialize_config_dir(str(config_dir())):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration(
            "train", ["data.root=folder", *words], run_mode=RunMode.MULTIRUN
        )
        started = time.perf_counter()
        plan = make_plan(config, groups.to_train, 300)
        seconds = time.perf_counter() - started
    if plan.num_checked != 100:
        raise SystemExit(f"{plan.num_checked} jobs were checked instead of 100")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--loop", type=int, default=6)
    parser.add_argument("--profile", type=Path, help="write a cProfile of the sweep here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as name:
        folder = Path(name)
        synthesise(folder / "specimens", SynthSettings(num_specimens=4, size=16, num_bands=40))
        shared = ["data.root=specimens"]
        command(folder, *shared, "bands.n=4", "tracking.experiment=first")
        counts = ",".join(str(5 + i) for i in range(options.jobs))
        profiler = ("-m", "cProfile", "-o", str(options.profile)) if options.profile else ()
        sweep_seconds, said = command(
            folder,
            *[*shared, "-m", f"bands.n={counts}", "tracking.experiment=sweep"],
            program=(*profiler, *SWEEP_JOBS),
        )
        seen = jobs(folder, "sweep")
        starts = [start for start, _ in seen]
        beyond = [
            later - start - trained
            for (start, trained), later in zip(seen[1:-1], starts[2:], strict=True)
        ]
        loop = [
            command(folder, *shared, f"bands.n={5 + i}", "tracking.experiment=loop")[0]
            for i in range(options.loop)
        ]
        trained = [seconds for _, seconds in jobs(folder, "loop")]
    processor = processor_beyond(json.loads(said.splitlines()[-1]))
    alone = [whole - part for whole, part in zip(loop, trained, strict=True)]
    found = {
        "jobs": options.jobs,
        "sweep_seconds": round(sweep_seconds, 2),
        "overhead_per_job_after_the_first_median": round(statistics.median(beyond), 3),
        "overhead_per_job_after_the_first_max": round(max(beyond), 3),
        "overhead_per_job_after_the_first_processor_median": round(processor, 3),
        "train_seconds_per_job_median": round(statistics.median(s for _, s in seen), 3),
        "whole_sweep_per_job": round(sweep_seconds / options.jobs, 3),
        "loop_overhead_per_job_median": round(statistics.median(alone), 3),
        "loop_seconds_per_job": round(statistics.mean(loop), 3),
        "plan_100_jobs": round(plan_seconds(), 3),
    }
    for key, value in found.items():
        print(f"{key:51} {value}")
    if options.profile is None:
        packages = ("torch", "hydra-core", "mlflow", "pytorch-lightning")
        print(record.write("sweep", {**record.context(packages), "seconds": found}))


if __name__ == "__main__":
    main()
