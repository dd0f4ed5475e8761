"""Does a change cost speed: ratios of ours to something plain, against kept ones (`make gate`).

    python benchmarks/gate.py                    # exit 1 names each ratio that is over its limit
    python benchmarks/gate.py --renew            # writes gate.json, after a change that was meant

Both sides of a ratio are run in turns in one process on one thread, and processor time is counted,
so that what else the machine does costs neither side more. The least of each side counts: work of
others only adds. A ratio more than a tenth over the kept one is measured again, three times in all,
and fails when it is over each time. The kept ones are the middle of five measurements.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import record
import torch
from gate_cases import CASES, Pair

from hyperspec.training.allocator import heap_for_steps

KEPT = Path(__file__).with_suffix(".json")
ALLOWED, TRIES, RENEWALS = 1.1, 3, 5
ROUNDS, BLOCK_S, WARM_S = 9, 0.04, 0.5  # seconds of processor time


def measure(pair: Pair) -> float:
    """Return how much processor time the first of two calls takes, in times of the second."""
    until = time.process_time() + WARM_S  # caches, allocator, threads' pools
    while time.process_time() < until:
        for call in pair:
            call()
    counts = [max(1, round(BLOCK_S / _seconds(call, 1))) for call in pair]
    least = [float("inf")] * 2
    for turn in range(ROUNDS):
        for side in (0, 1) if turn % 2 else (1, 0):
            least[side] = min(least[side], _seconds(pair[side], counts[side]))
    return least[0] / least[1]


def _seconds(call: Callable[[], object], count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count


def judge(limit: float, ratios: Iterable[float]) -> tuple[bool, list[float]]:
    """Say whether one of a few ratios is within the limit, and return those that were looked at."""
    seen = []
    for ratio in ratios:
        seen.append(ratio)
        if ratio <= limit:
            return True, seen
    return False, seen


def run(names: Iterable[str], kept: dict[str, float], folder: Path) -> list[str]:
    """Print each ratio beside its kept value; return the names of those that are over."""
    over = []
    for name in names:
        pair = CASES[name](folder / name)
        limit = ALLOWED * kept[name]
        good, seen = judge(limit, (measure(pair) for _ in range(TRIES)))
        tried = ", ".join(f"{ratio:.3f}" for ratio in seen)
        print(f"{name:16} {tried:22} at most {limit:.3f}{'' if good else '   OVER'}", flush=True)
        if not good:
            over.append(name)
    return over


def renew(names: Iterable[str], kept: dict[str, float], folder: Path) -> None:
    """Measure anew, and write what is kept."""
    for name in names:
        pair = CASES[name](folder / name)
        found = [measure(pair) for _ in range(RENEWALS)]
        kept[name] = round(statistics.median(found), 4)
        print(f"{name:16} {kept[name]:.3f}   {min(found):.3f} to {max(found):.3f}", flush=True)
    content = {**record.context(("numpy", "torch", "rasterio", "scikit-learn")), "ratios": kept}
    KEPT.write_text(json.dumps(content, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--renew", action="store_true")
    parser.add_argument("--kept", type=Path, default=KEPT, help="ratios to compare with")
    parser.add_argument("names", nargs="*", metavar="RATIO", help="all without any")
    words = parser.parse_args()
    if unknown := set(words.names) - CASES.keys():
        parser.error(
            f"no ratio is called {', '.join(sorted(unknown))}; there are {', '.join(CASES)}"
        )
    if words.kept != KEPT and not words.kept.is_file():
        parser.error(f"--kept {words.kept}: there is no such file; `--renew` writes {KEPT.name}")
    names = words.names or list(CASES)
    kept = words.kept
    content = json.loads(kept.read_text()) if kept.exists() else {"ratios": {}}
    warnings.simplefilter("ignore")  # cubes without a place on Earth
    torch.set_num_threads(1)
    started = time.monotonic()
    # As in training: without it each block of an image is new memory, whose first touch is dear.
    with tempfile.TemporaryDirectory() as folder, heap_for_steps(torch.device("cpu"), None):
        if words.renew:
            renew(names, content["ratios"], Path(folder))
            return 0
        where = content["machine"]["processor"]
        if where != record.processor():
            print(f"kept on {where}, this is {record.processor()}: renew before a change, then try")
        over = run(names, content["ratios"], Path(folder))
    within, seconds = len(names) - len(over), time.monotonic() - started
    print(f"{within} of {len(names)} within limits, {seconds:.0f} s")
    if over:
        print(f"slower than before: {', '.join(over)}", file=sys.stderr)
    return bool(over)


if __name__ == "__main__":
    sys.exit(main())
