"""Predicted against measured peak memory of training steps, on the CPU.

Each configuration is trained two steps in a process of its own on random planes. Measured is the
peak of its resident set (VmHWM) from the moment when module and planes are there, less what was
resident then; predicted is what `hyperspec plan` says will come on top of those
(`Plan.to_come`). Then the acceptance ratio: a contrastive batch in micro-batches of 4 against a
plain step at batch 4, of everything but the process itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
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
RATIO = [
    *("model=resnet50", "model.norm=group", "bands=full", "data.size=224"),
]


def measure(words: list[str]) -> dict[str, float]:
    """Train two steps here and return bytes; the process should have done nothing else."""
    import copy
    from dataclasses import replace

    import psutil
    import torch

    from hyperspec.assembly import optimisation
    from hyperspec.commands.plan import composed
    from hyperspec.data.datamodule import Batch
    from hyperspec.planning.forecast import step_context
    from hyperspec.planning.stand_in import build, stand_in
    from hyperspec.spectra.axis import mission_axis
    from hyperspec.training import memory
    from hyperspec.training.optimisation import build_optimizer

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
    for _ in range(2):
        with context():
            loss, _ = module.compare(*module.embed_batch(Batch(rows)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seconds = (time.perf_counter() - started) / 2
    peak = memory.peak_mb(torch.device("cpu")) * 1e6
    assert kept is not module.encoder
    return {
        "to_come": peak - start,
        "above_process": peak - before,
        "seconds_per_step": seconds,
    }


def in_process(words: list[str]) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def predict(words: list[str]) -> dict[str, float]:
    from hyperspec.commands.plan import composed
    from hyperspec.planning.forecast import forecast

    config, started = composed(words), time.perf_counter()
    plan = forecast(config).plan
    seconds = time.perf_counter() - started
    return {"to_come": plan.to_come, "flop": plan.flop, "seconds": seconds, **dict(plan.rows())}


def compare(words: list[str]) -> dict[str, Any]:
    predicted, measured = predict(words), in_process(words)
    error = predicted["to_come"] / measured["to_come"] - 1
    return {"words": words, "predicted": predicted, "measured": measured, "error": error}


def ratio(batch: int, words: list[str]) -> dict[str, Any]:
    """Compare a contrastive batch in micro-batches of 4 with a plain step at batch 4."""
    plain = in_process([*words, "batch_size=4"])
    cached = in_process([*words, f"batch_size={batch}", "hardware.micro_batch=4"])
    return {
        "batch": batch,
        "plain": plain,
        "cached": cached,
        "ratio": cached["to_come"] / plain["to_come"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs="+", metavar="WORD", help=argparse.SUPPRESS)
    parser.add_argument("--only", help="configurations whose name holds this")
    parser.add_argument("--batch", type=int, default=32, help="contrastive batch of the ratio")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
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
    last = ratio(arguments.batch, [*SMALL, *RATIO])
    print(
        f"contrastive batch {arguments.batch}, micro-batch 4, against a plain step at batch 4: "
        f"{last['ratio']:.2f} ({last['cached']['to_come'] / 1e6:.0f} and "
        f"{last['plain']['to_come'] / 1e6:.0f} MB)"
    )
    from record import context, write

    print(write("memory", {**context(("torch",)), "table": found, "acceptance": last}))


if __name__ == "__main__":
    main()
