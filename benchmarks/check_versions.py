"""Do other versions of Python, and the lower bounds of all requirements, pass the fast tests.

    python benchmarks/check_versions.py python3.12 python3.13 --lowest

Interpreters with what the registry serves today; then, with this one, the lower bounds.

Each gets an environment in build/versions, the fast tests, and a wheel that is used in an empty
folder far from the checkout. Where the registry's torch is one for CUDA an environment takes
several gigabytes. What was seen goes to benchmarks/results; the exit status is 1 when one fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record

ROOT = Path(__file__).resolve().parents[1]
FAST = "not faults and not slow and not gpu"
# Old packages warn of what newer ones that they meet will no longer have.
OLD = [f"-Wignore::{kind}Warning" for kind in ("Deprecation", "PendingDeprecation", "Future")]
WORDS = ["experiment=demo", "data.root=specimens", "data.size=16", "epochs=2", "warmup_steps=0"]


def run(command: list[str | Path], where: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder and keep what it says."""
    own = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    return subprocess.run(command, cwd=where, env=own, capture_output=True, text=True)


def check(interpreter: str, lowest: bool, workers: int) -> dict[str, object]:
    """Install, test, and use the wheel; return what was seen."""
    told = run([interpreter, "-c", "import platform; print(platform.python_version())"], ROOT)
    version = told.stdout.strip()
    place = ROOT / "build/versions" / ("lowest" if lowest else version)
    python = place / "bin/python"
    row: dict[str, object] = {"python": version, "bounds": "lowest" if lowest else "newest"}
    started = time.monotonic()
    if not python.exists():
        run([interpreter, "-m", "venv", place], ROOT)
    bounds = place / "bounds.txt"
    bounds.write_text(run([sys.executable, ".ci/lowest.py"], ROOT).stdout if lowest else "")
    install = [python, "-m", "pip", "install", "--disable-pip-version-check", "-c", bounds]
    done = run([*install, "-e", ".[dev]"], ROOT)
    row["install_seconds"] = round(time.monotonic() - started)
    if done.returncode:
        return {**row, "failure": done.stderr[-500:]}
    names = ("torch", "numpy", "pandas", "mlflow", "optuna", "scikit-learn")
    asked = f"from importlib.metadata import version; print([version(n) for n in {names}])"
    told = run([python, "-c", asked], ROOT)
    row["versions"] = dict(zip(names, re.findall(r"'([^']+)'", told.stdout), strict=True))
    started = time.monotonic()
    tests = [python, "-m", "pytest", "-n", str(workers), "--dist", "loadfile", "-q"]
    done = run([*tests, "--no-loadscope-reorder", "-m", FAST, *(OLD if lowest else [])], ROOT)
    row["tests_seconds"] = round(time.monotonic() - started)
    row["tests"] = done.stdout.strip().rpartition("\n")[2].strip("= ")
    row["failed"] = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    row["tests_status"] = done.returncode
    row["wheel"] = use_wheel(python)
    return row


def holds(row: dict[str, object]) -> bool:
    """Say whether a row is one of an installation that passed, and whose wheel trains."""
    wheel = str(row.get("wheel", "failed"))
    return "failure" not in row and row["tests_status"] == 0 and not wheel.startswith("failed")


def use_wheel(python: Path) -> str:
    """Build a wheel and train with it in an empty folder; return what the run said last."""
    with tempfile.TemporaryDirectory() as folder:
        empty, inside = Path(folder) / "empty", Path(folder) / "package"
        empty.mkdir()
        build = [python, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
        done = run(build, ROOT)
        for wheel in Path(folder).glob("*.whl"):
            install = [python, "-m", "pip", "install", "--no-deps", "--target", inside, wheel]
            done = run(install, ROOT)
            command = [python, "-m", "hyperspec"]
            where = {"PYTHONPATH": str(inside), "HYPERSPEC_DEVICE": "cpu"}
            synth = ["synth", "specimens", "--specimens", "4", "--size", "16"]
            for words in (synth, ["train", *WORDS]):
                done = run([*command, *words], empty, **where)
                if done.returncode:
                    break
        if done.returncode:
            return f"failed: {done.stderr.strip()[-300:]}"
        return next(line for line in done.stdout.splitlines() if "objective" in line)


def main() -> int:
    """Check each interpreter and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("interpreters", nargs="*")
    parser.add_argument("--lowest", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    words = parser.parse_args()
    for one in words.interpreters:
        if shutil.which(one) is None:
            parser.error(
                f"there is no interpreter '{one}' here; give a name on the path, or a path"
            )
    if not words.interpreters and not words.lowest:
        parser.error('give interpreters, --lowest, or both: ARGS="python3.13 --lowest"')
    wanted = [(one, False) for one in words.interpreters]
    wanted += [(sys.executable, True)] if words.lowest else []
    rows: list[dict[str, object]] = []
    for interpreter, lowest in wanted:
        rows.append(check(interpreter, lowest, words.workers))
        print(json.dumps(rows[-1]), flush=True)
        record.write("versions", record.context(()) | {"rows": rows})
    return not all(map(holds, rows))


if __name__ == "__main__":
    sys.exit(main())
