"""Does all of it work on this machine's card: nine minutes that settle it. `make check-gpu`.

    python benchmarks/check_gpu.py            # one CUDA card, no network
    python benchmarks/check_gpu.py --tiny     # rehearsal: the same code in small, on the CPU

Every part runs in a process of its own with a time limit, so that one that hangs or dies takes none
of the others along, and the record is written anew after each: what was measured until a machine is
taken away stays. `gpu_check_CARD_DATE.json` in benchmarks/results has for each part whether it
passed, what it measured, the tolerances it was held against, or how it failed.

A rehearsal's record says so, and is no proof of anything about a card.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import record

# Seconds of each part at most, in the order of what one wants to know first.
LIMITS = {
    "steps": 100, "micro": 40, "train": 110, "memory": 40, "forecast": 60, "oom": 50,
    "tests": 50, "bench": 60, "shared": 120, "compile": 60,
}  # fmt: skip
ALL_SECONDS = 530.0  # of the nine minutes; the rest is for starting and writing
_TOLD = 4000  # characters of a failed part's output that are kept


def run_part(name: str, seconds: float, tiny: bool, device: str) -> dict[str, Any]:
    """Run a part in its own process, and all processes that it starts with it."""
    with tempfile.TemporaryDirectory(prefix="check-gpu-") as folder:
        out = Path(folder) / "part.json"
        words = [sys.executable, str(Path(__file__).with_name("check_gpu_parts.py")), name]
        words += ["--device", device, "--out", str(out), "--folder", folder]
        log = Path(folder) / "log.txt"
        started, used = time.monotonic(), _cpu_seconds()
        with log.open("w") as said:
            process = subprocess.Popen(
                [*words, *(["--tiny"] if tiny else [])],
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder,
            )
            try:
                status: int | str = process.wait(seconds)
            except subprocess.TimeoutExpired:
                status = f"not done after {seconds:.0f} s"
            finally:
                _end_group(process)
        found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
        found["seconds"] = round(time.monotonic() - started, 1)
        found["cpu_seconds"] = round(_cpu_seconds() - used, 1)
        found["passed"] = (
            status == 0
            and bool(found.get("checks"))
            and all(check["passed"] for check in found["checks"])
        )
        if status != 0:
            found["status"] = status
        if not found["passed"]:
            found["output"] = log.read_text(errors="replace")[-_TOLD:]
        return found


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _cpu_seconds() -> float:
    """Return what processes that have ended took: a busy machine does not lengthen it."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def show(name: str, found: dict[str, Any]) -> None:
    passed = "passed" if found["passed"] else "FAILED"
    print(
        f"{name:10} {passed:7} {found['seconds']:6.1f} s ({found['cpu_seconds']:.0f} s of a core)"
    )
    for check in found.get("checks", []):
        if not check["passed"]:
            print(f"    {check['what']}: {check['value']} (asked: {check['asked']})")
    if "status" in found:
        print(f"    status {found['status']}")
        print("    " + "\n    ".join(found.get("output", "").strip().splitlines()[-6:]))


def card_of(device: str) -> dict[str, Any]:
    """Describe the card; asked in a process of its own, so that none is held by this one."""
    if device == "cpu":
        return {"name": "none, the CPU"}
    ask = (
        "import json, torch; p = torch.cuda.get_device_properties(0); "
        "print(json.dumps({'name': p.name, 'memory_gb': round(p.total_memory / 1e9, 1), "
        "'capability': f'{p.major}.{p.minor}', 'cuda': torch.version.cuda, "
        "'cards': torch.cuda.device_count()}))"
    )
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    if told.returncode:
        raise SystemExit("torch sees no CUDA device; --tiny rehearses on the CPU")
    card: dict[str, Any] = json.loads(told.stdout)
    return card


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tiny", action="store_true", help="rehearse in small on the CPU")
    parser.add_argument("--only", help="parts, with commas between")
    parser.add_argument("--out", type=Path, default=record.RESULTS, help="folder of the record")
    parser.add_argument("--seconds", type=float, default=ALL_SECONDS, help="of all parts at most")
    words = parser.parse_args()
    device = "cpu" if words.tiny else "cuda"
    card = card_of(device)
    packages = ("torch", "torchvision", "kornia", "pytorch-lightning", "mlflow-skinny", "numpy")
    content: dict[str, Any] = {
        **record.context(packages),
        "rehearsal": words.tiny,
        "card": card,
        "parts": {},
    }
    label = "rehearsal" if words.tiny else re.sub(r"[^a-z0-9]+", "-", card["name"].lower())
    path = words.out / f"gpu_check_{label}_{datetime.now(UTC):%Y-%m-%d}.json"
    until = time.monotonic() + words.seconds
    chosen = words.only.split(",") if words.only else list(LIMITS)
    for name in chosen:
        left = until - time.monotonic()
        if left < 5:
            print(f"{name:10} no time left")
            content["parts"][name] = {"passed": False, "status": "no time left", "seconds": 0.0}
        else:
            # On the CPU a part takes as long as other work lets it.
            limit = left if words.tiny else min(LIMITS[name], left)
            found = run_part(name, limit, words.tiny, device)
            content["parts"][name] = found
            show(name, found)
        words.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")
    passed = all(part["passed"] for part in content["parts"].values())
    print(f"{'all passed' if passed else 'not all passed'}; wrote {path}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
