"""The directions of import, and who may import which heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hyperspec"
ROOMS = {
    "utils": set(),
    "spectra": set(),
    "cubes": {"spectra"},
    "bands": {"spectra"},
    "data": {"spectra", "cubes", "bands"},
    "models": {"spectra"},
    "losses": {"spectra"},
    "evaluation": {"spectra", "models", "data"},
    "training": {"spectra", "data", "models", "losses", "evaluation"},
    "tracking": {"spectra"},
    "sweeps": {"spectra", "tracking", "evaluation"},
}
# Modules at the top of the package may import every room; these libraries have one owner each.
TOP = {"launch", "jobs", "pipeline", "material", "scoring", "schema", "train", "cli", "commands"}
TOP |= {"working", "planning"}
OWNERS = {
    "rasterio": {"cubes"},
    "kornia": {"data"},
    "mlflow": {"tracking", "sweeps"},
    "optuna": {"sweeps"},
    "hydra": {"sweeps", *TOP},
    "omegaconf": {"sweeps", *TOP},
}


def imports_of(file: Path) -> set[str]:
    """Names of all modules that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room_of(file: Path) -> str:
    relative = file.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_one_way(file: Path) -> None:
    room = room_of(file)
    names = imports_of(file)
    if room in ROOMS:
        ours = {n.split(".")[1] for n in names if n.startswith("hyperspec.") and "." in n}
        rooms = {name for name in ours if name in ROOMS or name in TOP}
        assert rooms <= ROOMS[room] | {room, "utils"}
    for library, owners in OWNERS.items():
        if any(n == library or n.startswith(library + ".") for n in names):
            assert room in owners, f"{file} imports {library}"


def test_every_room_is_listed() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert rooms == {*ROOMS, "commands", "planning"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from hyperspec.cli.main import COMMANDS, main\n"
        "names = [c.__name__.rsplit('.', 1)[1].replace('_', '-') for c in COMMANDS]\n"
        "for words in (['--help'], *([name, '--help'] for name in names)):\n"
        "    try: main(words)\n"
        "    except SystemExit as left: assert not left.code\n"
        "heavy = {'torch', 'mlflow', 'hydra', 'pandas', 'sklearn', 'matplotlib', 'rasterio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_composing_imports_no_torch() -> None:
    code = (
        "import sys, hyperspec.cli.train\n"
        "print(sorted({'torch', 'mlflow', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
