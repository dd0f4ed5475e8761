"""What every benchmark writes beside its numbers: when, where, with what, and by which command."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).resolve().parent / "results"

# What decides which kernels the BLAS runs, and on how many threads.
_ENVIRONMENT = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"),
    *("MKL_ENABLE_INSTRUCTIONS", "KMP_AFFINITY"),
)


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def context(packages: tuple[str, ...]) -> dict[str, Any]:
    """Describe machine, load, versions and command."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent
    )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "commit": commit.stdout.strip(),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "kernel": platform.release(),
            "load_average": [round(x, 1) for x in os.getloadavg()],
        },
        "environment": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        "versions": {"python": platform.python_version(), **found},
    }


def write(name: str, content: dict[str, Any]) -> Path:
    """Write a record named by benchmark and day."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}_{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
