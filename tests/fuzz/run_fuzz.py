"""Give many damaged files to each target, and drive the state machines: `make fuzz`.

    python tests/fuzz/run_fuzz.py --examples 10000 --only store

Each target runs in a process of its own. An example fails that raises anything but our errors,
takes more than two seconds, or wants more than a gigabyte. Hypothesis makes it small; it is kept in
tests/fuzz/kept, where `make test` tries it again for good. State machines run a fifth as often.
Then atheris takes over, which is guided by the branches that an example reaches (run_guided.py).
A record of all targets goes to benchmarks/results.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
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
from fuzz_targets import GUIDED, TARGETS, Example, keep, timed  # noqa: E402
from outbox_machine import OutboxMachine  # noqa: E402
from resume_machine import ResumeMachine  # noqa: E402
from store_machine import StoreMachine  # noqa: E402

ROOM_BYTES, BATCH = 1 << 30, 200
MACHINES = {
    "store_machine": StoreMachine,
    "outbox_machine": OutboxMachine,
    "resume_machine": ResumeMachine,
}
STEPS = 20


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
            try:
                slowest = max(slowest, timed(prepared, example))
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
        error += f" ({keep(name, failed[0]).relative_to(HERE)})"
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


def guide(name: str, examples: int, number: int) -> dict[str, object]:
    """Let atheris look for examples of a target, in a process of its own."""
    script = [sys.executable, str(HERE / "run_guided.py"), name]
    more = ["--examples", str(examples), "--seed", str(number % 2**31)]
    started = time.monotonic()
    done = subprocess.run([*script, *more], capture_output=True, text=True, errors="replace")
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    failure = (
        f"ended with {done.returncode} {done.stdout.strip()[-200:]}" if done.returncode else ""
    )
    return {
        "target": f"{name}, guided", "examples": int(stats.get("number_of_executed_units", 0)),
        "seed": number % 2**31, "failure": failure.strip(),
        "seconds": round(time.monotonic() - started),
        "new_branches_by": int(stats.get("new_units_added", 0)),
        "memory_mb": int(stats.get("peak_rss_mb", 0)),
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
    for name in [one for one in GUIDED if words.only in (None, one)]:
        rows.append(guide(name, words.examples, words.seed))
        print(json.dumps(rows[-1]), flush=True)
    if not words.only:
        context = record.context(("hypothesis", "numpy", "torch", "mlflow"))
        record.write("fuzz", {**context, "targets": rows})
    return any(row["failure"] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
