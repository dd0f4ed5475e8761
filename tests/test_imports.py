"""The rooms of the package: which may import which, no circles, one owner per heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hyperspec"
ROOMS: list[str] = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["rooms"][
    "order"
]
TOP = {"__init__.py", "__main__.py", "py.typed"}
# Who may import a heavy library; so does a module that names it, wherever it stands.
OWNERS = {
    "rasterio": {"cubes", "datasets"},
    "kornia": {"transforms"},
    "mlflow": {"tracking", "report", "sweeps"},
    "optuna": {"search", "report"},
    "hydra": {"config", "search", "runs", "sweeps", "cli"},
    "omegaconf": {"config", "search", "runs", "sweeps", "cli"},
}
FILES = sorted(PACKAGE.rglob("*.py"))
# File names that stand for the same thing in each room that has one.
SHARED_NAMES = {"__init__", "config", "base", "registry", "cross_modal", "schedule", "band_curve"}


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): file for file in FILES}


@cache
def imports_of(file: Path) -> frozenset[str]:
    """All modules that a file imports: at its top, in functions, under TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return frozenset(found)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def ours(file: Path) -> set[str]:
    return {name for name in imports_of(file) if name in MODULES}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected sets of two and more (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == order[node]:
            members = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(members) > 1:
                found.append(members)

    for node in graph:
        if node not in order:
            visit(node)
    return found


def test_the_rooms_are_these() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert rooms == set(ROOMS)
    assert len(ROOMS) <= 20
    assert {p.name for p in PACKAGE.iterdir() if p.is_file()} == TOP


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file: Path) -> None:
    room = room_of(module_of(file))
    allowed = {"", *(ROOMS[: ROOMS.index(room) + 1] if room in ROOMS else ROOMS)}
    above = sorted(name for name in ours(file) if room_of(name) not in allowed)
    assert not above, f"{file.relative_to(PACKAGE)} imports {above}, rooms above its own"
    for library, owners in OWNERS.items():
        if any(n == library or n.startswith(f"{library}.") for n in imports_of(file)):
            assert room in owners, f"{file.relative_to(PACKAGE)} imports {library}"


def test_no_modules_import_each_other() -> None:
    graph = {module: ours(file) - {module} for module, file in MODULES.items()}
    assert circles(graph) == []


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == [{"b", "c"}]


@pytest.mark.parametrize("init", [f for f in FILES if f.name == "__init__.py"], ids=module_of)
def test_a_room_hands_on_its_own_names(init: Path) -> None:
    module = module_of(init)
    if module != "hyperspec":  # the package itself opens cubes by `hyperspec.open`
        foreign = {n for n in ours(init) if not n.startswith(f"{module}.")}
        assert not {n for n in foreign if room_of(n) != room_of(module)}


def test_no_file_name_stands_for_two_things() -> None:
    """Outside of the commands, which have the names of what they show."""
    seen: dict[str, set[str]] = {}
    for file in FILES:
        if file.stem not in SHARED_NAMES and "commands" not in file.parts:
            seen.setdefault(file.stem, set()).add(room_of(module_of(file)))
    assert {stem: rooms for stem, rooms in seen.items() if len(rooms) > 1} == {}


def functions_of(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_sizes_stay_readable() -> None:
    lines = {file: len(file.read_text().splitlines()) for file in FILES}
    assert {str(f): n for f, n in lines.items() if n > 400} == {}
    found = [(f, *one) for f in FILES for one in functions_of(ast.parse(f.read_text()))]
    assert [one for one in found if one[2] > 60] == []
    total = sum(lines.values())
    for room in ROOMS:
        share = sum(n for f, n in lines.items() if room_of(module_of(f)) == room) / total
        assert share < 0.12, f"{room} holds {share:.0%} of the lines"


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
