"""One part of `make check-gpu` in a process of its own; benchmarks/check_gpu.py starts them."""

from __future__ import annotations

import argparse
import json
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Part:
    """What a part finds, written after every check: what a limit cuts off keeps what it had."""

    device: torch.device
    tiny: bool
    out: Path
    folder: Path
    checks: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def within(self, what: str, value: float, low: float, high: float) -> None:
        self._check(what, value, f"{low:g} to {high:g}", low <= value <= high)

    def at_most(self, what: str, value: float, most: float) -> None:
        self._check(what, value, f"<= {most:g}", value <= most)

    def at_least(self, what: str, value: float, least: float) -> None:
        self._check(what, value, f">= {least:g}", value >= least)

    def true(self, what: str, value: bool) -> None:
        self._check(what, value, "true", value)

    def note(self, what: str, value: object) -> None:
        self.notes[what] = value
        self._write()

    def _check(self, what: str, value: object, asked: str, passed: bool) -> None:
        print(f"{what}: {value} (asked: {asked})", flush=True)
        self.checks.append({"what": what, "value": value, "asked": asked, "passed": bool(passed)})
        self._write()

    def _write(self) -> None:
        content = json.dumps({"checks": self.checks, "measured": self.notes})
        scratch = self.out.with_suffix(".new")
        scratch.write_text(content)
        scratch.replace(self.out)


PARTS: dict[str, Callable[[Part], None]] = {}


def part(name: str) -> Callable[[Callable[[Part], None]], Callable[[Part], None]]:
    def known(function: Callable[[Part], None]) -> Callable[[Part], None]:
        PARTS[name] = function
        return function

    return known


@part("tests")
def tests(found: Part) -> None:
    """Run the tests that need a device; without one they are skipped, each with its reason."""
    files = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        # That of two devices starts whole sweeps, with fixtures of their own.
        if "pytest.mark.gpu" in path.read_text() and path.name != "test_distributed_job.py"
    ]
    # Without conftest.py: it wants hypothesis and mlflow, which these tests do without.
    # Nor may the filters of pyproject.toml name a class of a package that is not there.
    words = ["-m", "pytest", "-q", "-m", "gpu", "--noconftest", "-p", "no:cacheprovider"]
    words += ["-o", "filterwarnings=", *files]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[-3000:], done.stderr[-1000:])
    counts = {
        word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)
    }
    found.note("pytest", counts)
    found.at_most("status of pytest", done.returncode, 0)
    found.at_least("tests", counts.get("skipped" if found.tiny else "passed", 0), 1)


@part("bench")
def bench(found: Part) -> None:
    """A step against its limits, as `make bench-gpu`."""
    import bench_gpu

    shape = bench_gpu.TINY if found.tiny else bench_gpu.Shape()
    measured = bench_gpu.measure(shape, found.device, 1 if found.tiny else 5)
    bench_gpu.show(measured)
    found.note("bench_gpu", measured)
    if found.tiny:  # figures of a CPU say nothing about a card
        found.at_least("seconds of a step", measured["seconds"]["step"]["median"], 0.0)
        return
    both = measured["input_share"] + measured["views_share"]
    found.at_most("input's share of a step", measured["input_share"], 0.03)
    found.at_most("input's and views' share of a step", both, 0.10)
    ratio = measured["ratio_to_3_channels"]
    found.at_most("step over one on ready 3-channel tensors", ratio, 1.3)


def specimens(folder: Path, count: int, size: int) -> Path:
    from hyperspec.testing.synthetic.generate import synthesise
    from hyperspec.testing.synthetic.settings import SynthSettings

    return synthesise(
        folder / "specimens", SynthSettings(num_specimens=count, size=size, num_bands=40)
    )


def words_of(found: Part, root: Path, *more: str) -> list[str]:
    """Return words of `hyperspec train` on a folder, with a store and planes of their own."""
    on = ["hardware=gpu"] if found.device.type == "cuda" else ["hardware=cpu"]
    if found.device.type == "cpu":
        on += ["hardware.precision=bf16-mixed", "hardware.threads=1"]
    return [
        *("experiment=demo", "data.size=32", "bands.n=20", "epochs=8", "evaluation.controls=false"),
        *(f"data.root={root}", f"data.cache_dir={found.folder / 'cache'}"),
        *(f"tracking.uri=sqlite:///{found.folder / 'mlflow.db'}", "tracking.experiment=check"),
        *("sweep.report=false", "hardware.plan=true", *on, *more),
    ]


def train(words: list[str]) -> tuple[int, str]:
    """Run `hyperspec train` here; return its status and what it logged."""
    from hyperspec.cli.train import main

    told: list[str] = []

    class Keep(logging.Handler):
        def emit(self, entry: logging.LogRecord) -> None:
            told.append(entry.getMessage())

    keep = Keep()
    logging.getLogger("hyperspec").addHandler(keep)
    logging.getLogger("hyperspec").setLevel(logging.INFO)
    try:
        return main(words), "\n".join(told)
    finally:
        logging.getLogger("hyperspec").removeHandler(keep)


@part("train")
def whole_training(found: Part) -> None:
    """`hyperspec train` with clipping and validation; a second job; one that is killed."""
    from hyperspec.utils.device_memory import taken_bytes

    root = specimens(found.folder, 4, 32)
    words = words_of(found, root, "clip_norm=1", "evaluation.every_n_epochs=2", "batch_size=16")
    words.append("sweep.checkpoint_seconds=0")
    status, _ = train([*words, f"hydra.run.dir={found.folder / 'whole'}"])
    found.at_most("status of a training", status, 0)
    left = taken_bytes(found.device)
    status, _ = train([*words, "seed=1", f"hydra.run.dir={found.folder / 'second'}"])
    found.at_most("status of a second job", status, 0)
    more = (taken_bytes(found.device) - left) / 1e6
    if found.device.type == "cuda":
        found.at_most("MB that a job leaves", left / 1e6, 64.0)
        found.at_most("MB that a second job leaves beside that", more, 1.0)
    found.note("MB after a job, and more after a second", [left / 1e6, more])
    _killed(found, [*words, f"hydra.run.dir={found.folder / 'broken'}"])


def _killed(found: Part, words: list[str]) -> None:
    """Kill a training after some checkpoints, give its command again, compare the weights.

    After the second: the first is whole then, with its checksum.
    """
    command = [sys.executable, "-m", "hyperspec", "train", *words]
    slots, until = found.folder / "broken" / "interrupted", time.monotonic() + 60
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as first:
        while (
            len(list(slots.glob("*.ckpt"))) < 2
            and first.poll() is None
            and time.monotonic() < until
        ):
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
    found.true("killed while it trained", first.wait() == -signal.SIGKILL)
    again = subprocess.run(command, capture_output=True, text=True)
    told = again.stdout + again.stderr
    print(told[-2000:])
    found.at_most("status of the run that goes on", again.returncode, 0)
    found.true("it goes on from the checkpoint", "goes on with the training from step" in told)
    one, other = (_weights(found.folder / name) for name in ("whole", "broken"))
    distance = float((one - other).norm() / one.norm())
    # Bit for bit on a CPU; on a card sums of atomics differ from run to run.
    found.at_most("distance of its weights", distance, 0.05 if found.device.type == "cuda" else 0)


def _weights(folder: Path) -> torch.Tensor:
    from hyperspec.training.checkpoint import read_checkpoint
    from hyperspec.training.progressive import CHECKPOINT

    state = read_checkpoint(folder / CHECKPOINT)["state_dict"]
    return torch.cat([v.flatten().double() for v in state.values() if v.is_floating_point()])


@part("oom")
def out_of_memory(found: Part) -> None:
    """A card with too little memory for the batch: once more in micro-batches of half."""
    from hyperspec.cli.commands.plan import composed
    from hyperspec.runs.planning.memory import forecast
    from hyperspec.training.simclr import SimCLR

    root = specimens(found.folder, 8 if not found.tiny else 4, 64 if not found.tiny else 32)
    words = words_of(found, root, "model=resnet18", "model.norm=group", "epochs=1")
    if found.tiny:
        words += ["model=tiny", "model.norm=group"]
        step, calls = SimCLR.training_step, []

        def fails(module: SimCLR, *rest: Any) -> Any:
            calls.append(module)
            if len(calls) == 1:
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `gemm`")
            return step(module, *rest)

        SimCLR.training_step = fails  # type: ignore[method-assign]
    else:
        words += ["data.size=128", "hardware.precision=32-true"]
        whole = forecast(composed(words)).plan
        half = forecast(composed([*words, f"hardware.micro_batch={whole_batch(words) // 2}"])).plan
        cap = (whole.total + half.total) / 2
        found.note("bytes: whole, half, allowed", [whole.total, half.total, cap])
        share = cap / torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(share)
    status, told = train([*words, f"hydra.run.dir={found.folder / 'short'}"])
    found.at_most("status", status, 0)
    again = re.search(r"out of memory; once more with hardware\.micro_batch=(\d+)", told)
    found.true("trained once more in smaller micro-batches", again is not None)


def whole_batch(words: list[str]) -> int:
    """Return how many images a step of these words has."""
    from hyperspec.cli.commands.plan import composed
    from hyperspec.runs.planning.dummy_data import look
    from hyperspec.runs.planning.step_memory import settings_of

    config = composed(words)
    return settings_of(config, look(config.data).num_images).batch


@part("shared")
def shared(found: Part) -> None:
    """Sweeps of 1, 2, 4 and 8 jobs at once on the card."""
    root = specimens(found.folder, 4, 32)
    for jobs in (1, 2) if found.tiny else (1, 2, 4, 8):
        words = words_of(found, root, "-m", f"seed={','.join(map(str, range(jobs)))}")
        on = "accelerator=gpu" if found.device.type == "cuda" else "accelerator=cpu"
        words += ["hardware=gpu_shared", f"hardware.{on}", f"hardware.jobs_per_device={jobs}"]
        words += [f"study=shared{jobs}", "epochs=20", "batch_size=16", "hydra/launcher=joblib"]
        words += [f"hydra.sweep.dir={found.folder / f'shared{jobs}'}", "hardware.threads=1"]
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "hyperspec", "train", *words], capture_output=True, text=True
        )
        seconds = time.monotonic() - started
        print(done.stdout[-1500:], done.stderr[-1500:])
        found.at_most(f"status of {jobs} at once", done.returncode, 0)
        found.note(f"{jobs} at once", {"seconds": seconds, "jobs_per_minute": 60 * jobs / seconds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part")
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    words = parser.parse_args()
    if words.device == "cpu":
        torch.set_num_threads(1)
    import check_gpu_steps  # noqa: F401 - its parts make themselves known

    index = torch.device("cuda", 0) if words.device == "cuda" else torch.device("cpu")
    PARTS[words.part](Part(index, words.tiny, words.out, words.folder))


if __name__ == "__main__":
    sys.modules["check_gpu_parts"] = sys.modules["__main__"]  # one table of parts
    main()
