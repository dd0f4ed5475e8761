"""Give many damaged files to each target, and drive the state machines: `make fuzz`.

    python tests/fuzz/run_fuzz.py --examples 10000 --only store

Each target runs in a process of its own. An example fails that raises anything but our errors,
takes more than two seconds, or wants more than a gigabyte. Hypothesis makes it small; it is kept in
tests/fuzz/kept, where `make test` tries it again for good. State machines run a fifth as often.
A record of all targets goes to benchmarks/results.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.stateful import run_state_machine_as_test

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / "support"), str(HERE.parents[1] / "benchmarks")]

import record  # noqa: E402 - these need the path
from fuzz_targets import TARGETS, Example, attempt  # noqa: E402
from outbox_machine import OutboxMachine  # noqa: E402
from resume_machine import ResumeMachine  # noqa: E402
from store_machine import StoreMachine  # noqa: E402

LONGEST_S, ROOM_BYTES, BATCH = 2.0, 1 << 30, 200
MACHINES = {
    "store_machine": StoreMachine,
    "outbox_machine": OutboxMachine,
    "resume_machine": ResumeMachine,
}
STEPS = 20


class SlowError(Exception):
    """An example took too long."""


def fuzz(name: str, examples: int, number: int) -> dict[str, object]:
    """Run a target; keep the smallest example that fails."""
    failed: list[Example] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        prepared = TARGETS[name](Path(folder))
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        now = _data_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (now + ROOM_BYTES, resource.RLIM_INFINITY))

        def run(example: Example) -> None:
            nonlocal slowest
            start = time.process_time()
            try:
                attempt(prepared, example)
                slowest = max(slowest, time.process_time() - start)
                if time.process_time() - start > LONGEST_S:
                    raise SlowError(f"{time.process_time() - start:.1f} s")
            except BaseException:
                failed[:] = [example]
                raise

        started, error = time.monotonic(), ""
        try:
            # Hypothesis keeps what it has drawn, and a checkpoint has a megabyte.
            for turn, first in enumerate(range(0, examples, BATCH)):
                wanted = settings(
                    max_examples=min(BATCH, examples - first), deadline=None, database=None,
                    suppress_health_check=list(HealthCheck),
                    phases=(Phase.generate, Phase.shrink),
                )  # fmt: skip
                seed(1000 * number + turn)(wanted(given(prepared.examples)(run)))()
                gc.collect()
        except BaseException as raised:  # noqa: BLE001 - whatever it is, it is the finding
            traceback.print_exc()
            error = f"{type(raised).__name__}: {raised}"[:300]
    if failed:
        (file, content) = failed[0]
        whole = file.encode() + b"\n" + content
        path = HERE / "kept" / name / hashlib.sha256(whole).hexdigest()[:12]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole)
        error += f" ({path.relative_to(HERE)})"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - own) / 1024
    return {
        "target": name, "examples": examples, "seed": number, "failure": error,
        "seconds": round(time.monotonic() - started), "slowest_s": round(slowest, 2),
        "memory_mb": round(grown),
    }  # fmt: skip


def drive(name: str, examples: int, number: int) -> dict[str, object]:
    """Run a state machine; what fails is printed as the steps that lead to it."""
    machine = seed(number)(MACHINES[name])
    wanted = settings(
        max_examples=examples, stateful_step_count=STEPS, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    started, error = time.monotonic(), ""
    try:
        run_state_machine_as_test(machine, settings=wanted)
    except BaseException as raised:  # noqa: BLE001 - whatever it is, it is the finding
        traceback.print_exc()
        error = f"{type(raised).__name__}: {raised}"[:300]
    seconds = round(time.monotonic() - started)
    return {
        "target": name, "examples": examples, "seed": number, "failure": error, "seconds": seconds
    }  # fmt: skip


def _data_bytes() -> int:
    """Return what the limit on private memory counts already."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", help="one target")
    parser.add_argument("--here", action="store_true", help="in this process")
    words = parser.parse_args()
    if words.here:
        run = drive if words.only in MACHINES else fuzz
        found = run(words.only, words.examples, words.seed)
        print(json.dumps(found))
        return bool(found["failure"])
    rows = []
    for name in [words.only] if words.only else [*TARGETS, *MACHINES]:
        command = [sys.executable, __file__, "--here", "--only", name]
        examples = words.examples // 5 if name in MACHINES else words.examples
        command += ["--examples", str(examples), "--seed", str(words.seed)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        print(done.stdout.strip(), flush=True)
        last = done.stdout.strip().rpartition("\n")[2]
        if not last.startswith("{"):
            last = json.dumps({"target": name, "failure": f"ended with {done.returncode}"})
        rows.append(json.loads(last))
    if not words.only:
        context = record.context(("hypothesis", "numpy", "torch", "mlflow"))
        record.write("fuzz", {**context, "targets": rows})
    return any(row["failure"] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
