"""Predicted against measured peak memory of training steps, on the CPU.

Each configuration is trained two steps in a process of its own on random planes. Measured is the
peak of its resident set (VmHWM) from the moment when module and planes are there, less what was
resident then; predicted is what `hyperspec plan` says will come on top of those
(`Plan.to_come`).

`--ratio` measures instead what a large contrastive batch costs: one of `--batch` in micro-batches
of 4 against a plain step at batch 4, 408 bands, medians of `--repeats` processes each. `to_come` is
the peak above what is resident once libraries, planes and module are there; `above_process` counts
planes and module too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

SMALL = ["data.size=64", "views=default", "hardware.threads=1"]
CONFIGURATIONS = {
    "tiny, 50 bands, 64 px, batch 64": ["model=tiny", "bands.n=50", "batch_size=64"],
    "tiny, 408 bands, 64 px, batch 64, micro 8": [
        *("model=tiny", "model.norm=group", "bands=full", "batch_size=64"),
        "hardware.micro_batch=8",
    ],
    "tiny, 408 bands, inflate, 64 px, batch 32": [
        *("model=tiny", "bands=full", "model.stem=inflate", "batch_size=32"),
    ],
    "resnet18, 50 bands, 64 px, batch 32": ["model=resnet18", "bands.n=50", "batch_size=32"],
    "resnet18, 50 bands, 64 px, batch 32, bf16": [
        *("model=resnet18", "bands.n=50", "batch_size=32", "hardware.precision=bf16-mixed"),
    ],
    "resnet18, 408 bands, 224 px, batch 8, micro 2": [
        *("model=resnet18", "model.norm=group", "bands=full", "data.size=224", "batch_size=8"),
        "hardware.micro_batch=2",
    ],
    "resnet50, 50 bands, 64 px, batch 16, stages recomputed": [
        *("model=resnet50", "bands.n=50", "batch_size=16", "hardware.checkpointing=true"),
    ],
    "resnet50, 408 bands, 224 px, batch 4": [
        *("model=resnet50", "bands=full", "data.size=224", "batch_size=4"),
    ],
    "convnext, 50 bands, 64 px, batch 16, micro 4": [
        *("model=convnext", "bands.n=50", "batch_size=16", "hardware.micro_batch=4"),
    ],
    "vit, 50 bands, 224 px, batch 4": [
        *("model=vit", "bands.n=50", "data.size=224", "batch_size=4"),
    ],
}
RATIO = ["model.norm=group", "bands=full", "views=default", "hardware.threads=1"]
MICRO = 4


def measure(words: list[str], steps: int) -> dict[str, float]:
    """Train some steps here and return bytes; the process should have done nothing else."""
    import copy
    from dataclasses import replace

    import psutil
    import torch

    from hyperspec.cli.commands.plan import composed
    from hyperspec.datasets.loading.prefetch import Batch
    from hyperspec.runs.planning.dummy_data import build, stand_in
    from hyperspec.runs.planning.step_memory import step_context
    from hyperspec.spectra.axis import mission_axis
    from hyperspec.training import allocator as memory
    from hyperspec.training.builders import optimisation
    from hyperspec.training.optimizer import build_optimizer

    config = composed(words)
    torch.set_num_threads(config.hardware.threads or torch.get_num_threads())
    before = psutil.Process().memory_info().rss
    config = replace(config, data=replace(config.data, residency="device"))
    material = stand_in(config, mission_axis(), min(config.batch_size, 16))
    module = build(config, material, torch.device("cpu")).train()
    kept = copy.deepcopy(module.encoder)
    trained = [pair for pair in module.named_parameters() if pair[1].requires_grad]
    optimizer = build_optimizer(trained, optimisation(config))
    rows = torch.arange(config.batch_size) % len(material.source)
    context = step_context(config.hardware)
    memory.reset_peak()
    start, started = psutil.Process().memory_info().rss, time.perf_counter()
    with memory.heap_for_steps(torch.device("cpu"), config.hardware.micro_batch):
        for _ in range(steps):
            with context():
                loss, _ = module.compare(*module.embed_batch(Batch(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    seconds = (time.perf_counter() - started) / steps
    peak = memory.peak_mb(torch.device("cpu")) * 1e6
    assert kept is not module.encoder
    return {
        "to_come": peak - start,
        "above_process": peak - before,
        "seconds_per_step": seconds,
    }


def in_process(words: list[str], steps: int = 2) -> dict[str, float]:
    command = [sys.executable, __file__, "--steps", str(steps), "--measure", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def predict(words: list[str]) -> dict[str, float]:
    from hyperspec.cli.commands.plan import composed
    from hyperspec.runs.planning.memory import forecast

    config, started = composed(words), time.perf_counter()
    plan = forecast(config).plan
    seconds = time.perf_counter() - started
    return {"to_come": plan.to_come, "flop": plan.flop, "seconds": seconds, **dict(plan.rows())}


def compare(words: list[str]) -> dict[str, Any]:
    predicted, measured = predict(words), in_process(words)
    error = predicted["to_come"] / measured["to_come"] - 1
    return {"words": words, "predicted": predicted, "measured": measured, "error": error}


def ratio(batch: int, words: list[str], repeats: int, steps: int) -> dict[str, Any]:
    """Compare a contrastive batch in micro-batches of 4 with a plain step at batch 4."""
    told = {
        "plain": [*words, f"batch_size={MICRO}"],
        "cached": [*words, f"batch_size={batch}", f"hardware.micro_batch={MICRO}"],
    }
    runs = {name: [in_process(of, steps) for _ in range(repeats)] for name, of in told.items()}
    middle = {
        name: {key: median(run[key] for run in of) for key in of[0]} for name, of in runs.items()
    }
    of_all = {
        key: middle["cached"][key] / middle["plain"][key] for key in ("to_come", "above_process")
    }
    return {"words": words, "batch": batch, "micro_batch": MICRO, "ratio": of_all, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--measure", nargs="+", metavar="WORD", help=argparse.SUPPRESS)
    add("--only", help="configurations whose name holds this")
    add("--ratio", action="store_true", help="measure a large batch against a small one instead")
    add("--batch", type=int, default=256, help="contrastive batch of the ratio (256)")
    add("--model", default="resnet18", help="its model (resnet18)")
    add("--size", type=int, default=64, help="its images' side in pixels (64)")
    add("--repeats", type=int, default=3, help="processes of each kind (3)")
    add(
        "--steps",
        type=int,
        default=2,
        help="steps of a process; AdamW's moments lie there from the second on (2)",
    )
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.steps)))
        return
    if arguments.ratio:
        report_ratio(arguments)
        return
    found = {}
    for name, words in CONFIGURATIONS.items():
        if arguments.only and arguments.only not in name:
            continue
        found[name] = row = compare([*SMALL, *words])
        print(
            f"{name:58} predicted {row['predicted']['to_come'] / 1e6:7.0f} MB  measured "
            f"{row['measured']['to_come'] / 1e6:7.0f} MB  {row['error']:+6.1%}  "
            f"{row['predicted']['flop'] / 1e9:8.1f} GFLOP",
            flush=True,
        )
    if arguments.only:
        return
    from record import context, write

    print(write("memory", {**context(("torch",)), "table": found}))


def report_ratio(arguments: argparse.Namespace) -> None:
    """Measure the ratio, print it and write the record."""
    from record import context, write

    words = [*RATIO, f"model={arguments.model}", f"data.size={arguments.size}"]
    found = ratio(arguments.batch, words, arguments.repeats, arguments.steps)
    print(
        f"{arguments.model}, 408 bands, {arguments.size} px: contrastive batch {arguments.batch} "
        f"in micro-batches of {MICRO} against a plain step at batch {MICRO}, peak resident memory: "
        f"{found['ratio']['to_come']:.2f} (planes and module counted too: "
        f"{found['ratio']['above_process']:.2f})"
    )
    for name, runs in found["runs"].items():
        print(f"  {name}: " + ", ".join(f"{run['to_come'] / 1e6:.0f} MB" for run in runs))
    name = f"memory_ratio_{arguments.model}_{arguments.size}px_{arguments.batch}"
    print(write(name, {**context(("torch",)), **found}))


if __name__ == "__main__":
    main()
