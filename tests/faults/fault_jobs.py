"""Faults inside of a job."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch
from fault_harness import Place, Row, Workshop, judge, wait_until

import hyperspec.runs.experiment
from hyperspec.runs.experiment import Outcome
from hyperspec.training.context import RunContext
from hyperspec.training.simclr import SimCLR


def bad_results(shop: Workshop) -> Row:
    """One job raises, one has a NaN loss, one an infinite, one returns None; one is well."""
    place = shop.fresh("results")
    real_execute, real_step = hyperspec.runs.experiment.execute, SimCLR.training_step

    def inject() -> None:
        def execute(context: RunContext) -> Outcome:
            bands: Any = context.config.bands
            if bands.n == 5:
                raise RuntimeError("planned failure")
            found = real_execute(context)
            return Outcome(None) if bands.n == 8 else found  # type: ignore[arg-type]

        def step(self: SimCLR, *rest: Any) -> Any:
            count = len(self.facts["bands"]["indices"])
            return real_step(self, *rest) * {6: float("nan"), 7: float("inf")}.get(count, 1.0)

        hyperspec.runs.experiment.execute = execute
        SimCLR.training_step = step  # type: ignore[method-assign]

    child = place.start("-m", "bands.n=5,6,7,8,9", before=inject)
    status = child.wait()
    jobs = {int(run.params["bands.n"]): run for run in place.jobs()}
    reasons = [jobs[n].tags.get("hyperspec.failure.reason", "") for n in (5, 6, 7, 8)]
    artifacts = list((shop.folder / "mlflow_artifacts").rglob("error/traceback.txt"))
    return judge(
        "job raises; NaN or infinite loss; None returned",
        "that job FAILED with reason and traceback, the rest run, exit 1 with a table",
        {
            "4 jobs FAILED": [jobs[n].status for n in (5, 6, 7, 8)] == ["FAILED"] * 4,
            "each with its reason": all(reasons) and "planned failure" in reasons[0],
            "and traceback": len(artifacts) >= 4,
            "the fifth FINISHED": jobs[9].status == "FINISHED",
            "exit 1": status == 1,
            "table of failures": "Failed jobs" in child.text(),
        },
        "; ".join(reason[:48] for reason in reasons[1:]),
    )


def out_of_memory(shop: Workshop) -> Row:
    """The first job runs out of memory with its own micro-batch; the second is like any other."""
    place = shop.fresh("memory")
    real = hyperspec.runs.experiment.execute

    def inject() -> None:
        def execute(context: RunContext) -> Outcome:
            config: Any = context.config
            if config.bands.n == 5 and config.hardware.micro_batch is None:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return real(context)

        hyperspec.runs.experiment.execute = execute

    child = place.start("-m", "bands.n=5,6", "model.norm=group", before=inject)
    status = child.wait()
    first, second = place.jobs()
    return judge(
        "out of memory",
        "recognised; one retry with half the micro batch; next job has a clean device",
        {
            "retried and FINISHED": first.status == "FINISHED",
            "marked": first.tags.get("hyperspec.oom.micro_batch", "").isdigit(),
            "next job unmarked and FINISHED": second.status == "FINISHED"
            and "hyperspec.oom.micro_batch" not in second.tags,
            "exit 0": status == 0,
        },
    )


def _victim(place: Place) -> int:
    """Process of a job that has begun to train."""
    for run in place.jobs():
        if run.status == "RUNNING" and "hyperspec.identity" in run.tags:
            return int(run.tags["hyperspec.process"].split("/")[2])
    return 0


def killed_worker(shop: Workshop, number: int = signal.SIGKILL, launcher: str = "joblib") -> Row:
    """A worker of joblib's or Ray's is killed while it trains."""
    place = shop.fresh("worker")
    words = ["-m", "bands.n=5,6,7", "epochs=150", "sweep.checkpoint_seconds=0"]
    words += [f"hydra/launcher={launcher}", "hydra.launcher.n_jobs=2"]
    child = place.start(*words)
    wait_until(lambda: bool(_victim(place)), 300)
    victim = _victim(place)
    os.kill(victim, number)
    status = child.wait(900)
    jobs = place.jobs()
    finished = [run.params["bands.n"] for run in jobs if run.status == "FINISHED"]
    lost = [r for r in jobs if r.tags["hyperspec.process"].split("/")[2] == str(victim)]
    name = signal.Signals(number).name
    return judge(
        f"job killed ({name}), {launcher}",
        "only that job lost, requeued up to a limit, its MLflow run closed",
        {
            "all 3 jobs FINISHED": sorted(finished) == ["5", "6", "7"],
            "none RUNNING": all(run.status != "RUNNING" for run in place.runs()),
            "the lost run closed as FAILED": "FAILED" in [run.status for run in lost],
            "exit 0": status == 0,
        },
    )
