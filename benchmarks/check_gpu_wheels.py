"""What a machine with a card and without a network has to be given: `make check-gpu-wheels`.

    python benchmarks/check_gpu_wheels.py                     # into build/wheels
    python benchmarks/check_gpu_wheels.py --only steps        # without `hyperspec train`

Downloads the wheels below, by name at the versions of constraints.txt, for Python 3.12 on x86-64
Linux, builds the package's own wheel beside them, and writes the command that installs them there.
The machine is taken to have torch, torchvision, Lightning, NumPy, SciPy, scikit-learn, pandas,
pyarrow and matplotlib, and what these need.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# For steps alone: benchmarks/check_gpu.py --only steps,micro,compile,memory,forecast,bench,tests.
STEPS = (
    "hydra-core", "omegaconf", "kornia", "kornia_rs", "psutil", "pytest", "pluggy", "iniconfig",
    "Pygments",
)  # fmt: skip
# For `hyperspec train` on SQLite besides.
TRAIN = (
    "mlflow-skinny", "mlflow-tracing", "SQLAlchemy", "alembic", "Mako", "sqlparse", "pydantic",
    "pydantic_core", "annotated-types", "typing-inspection", "protobuf", "databricks-sdk",
    "google-auth", "pyasn1", "pyasn1_modules", "cryptography", "cffi", "pycparser",
    "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-proto",
    "opentelemetry-semantic-conventions", "fastapi", "starlette", "anyio", "annotated-doc",
    "joblib", "filelock", "cachetools", "click", "cloudpickle", "importlib_metadata", "zipp",
    "python-dotenv", "requests", "urllib3", "certifi", "charset-normalizer", "idna", "optuna",
    "colorlog", "hydra-optuna-sweeper", "hydra-joblib-launcher", "rich", "markdown-it-py", "mdurl",
    "threadpoolctl",
)  # fmt: skip

_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def pinned(names: tuple[str, ...]) -> list[str]:
    """Return names with the versions of constraints.txt, those that it does not name without."""
    known = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        if version:
            known[_plain(name)] = version
    return [f"{name}=={known[_plain(name)]}" if _plain(name) in known else name for name in names]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", choices=("steps", "train"), default="train")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "wheels")
    parser.add_argument("--python", default="3.12")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    wanted = pinned(STEPS if words.only == "steps" else STEPS + TRAIN)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    platforms = [f"--platform={one}_x86_64" for one in _PLATFORMS]
    there = [f"--python-version={words.python}", "--implementation=cp", *platforms]
    fetch = ["download", "--no-deps", "--only-binary=:all:", "--quiet", "--dest"]
    done = subprocess.run([*pip, *fetch, str(words.folder), *there, *wanted])
    if done.returncode:
        return done.returncode
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run([*build, "--wheel-dir", str(words.folder), str(ROOT)])
    if done.returncode:
        return done.returncode
    wheels = sorted(words.folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels)
    print(f"{len(wheels)} wheels, {size / 2**20:.1f} MiB in {words.folder}")
    print(f"there: python -m pip install --no-index --no-deps {words.folder.name}/*.whl")
    return 0


if __name__ == "__main__":
    sys.exit(main())
