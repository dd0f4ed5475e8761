"""A hash of what the package's source says, for people who change it.

Two sources have the same hash when they hold the same functions, classes and constants: docstrings,
comments, layout, names of files and folders, the place of a definition and most imports do not
count. Renaming a function counts, since nothing here can tell that from another function.

An import counts for the names that it brings from other packages, and for a name that it changes
(``import a as b``). Not seen is one that takes a name from another of the package's own modules,
where both modules define it.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from hyperspec.utils.results_version import SOURCE_FILES, SOURCE_TREE

PACKAGE = Path(__file__).resolve().parents[1]
DISTRIBUTION = "hyperspec-sweeps"
DIGITS = 16  # hex digits; 64 bits: a million jobs collide with probability 3e-8

# Rooms, or modules of one, that decide how runs are started, kept and shown, not what they compute:
# the one place where they are named.
NOT_COMPUTING = (
    *("cli", "conf", "inspection", "report", "search", "sweeps", "testing", "tracking"),
    *("config/compose", "config/plugins"),
    *("utils/garbage", "utils/progress", "utils/results_version", "utils/source_tree"),
    *("runs/identity", "runs/job", "runs/job_context", "runs/job_state", "runs/locks"),
    *("runs/planning", "runs/provenance", "runs/resume", "runs/watchdog"),
)


@lru_cache
def changed_source() -> str:
    """Return what the source adds to a job's identity: nothing where it is a known release.

    A release is known by its versions (:data:`hyperspec.utils.results_version.RESULTS`) alone. So
    is a checkout whose source says what it said when the golden numbers were written. Any other
    counts by its hash, so that an experiment with the code is never given results of the code
    before.
    """
    if is_release() or files_hash() == SOURCE_FILES:  # the same bytes, which is quick to see
        return ""
    found = tree_hash()
    return "" if found == SOURCE_TREE else found


def is_release(package: Path = PACKAGE) -> bool:
    """Say whether a package was installed from an index or a wheel, not from a folder."""
    for installed in distributions(name=DISTRIBUTION):
        if Path(str(installed.locate_file(package.name))).resolve() == package:
            return _from_archive(installed)
    return False  # it lies on the path by itself


def _from_archive(installed: Distribution) -> bool:
    # PEP 610: absent for an index; a folder (editable or not) and a repository say so.
    origin = installed.read_text("direct_url.json")
    return origin is None or "archive_info" in json.loads(origin)


@lru_cache
def tree_hash(package: Path = PACKAGE) -> str:
    """Return the hash of what a package's computing modules say, 16 hex digits."""
    return _source_hash(_computing(package), package.name)


def files_hash(package: Path = PACKAGE) -> str:
    """Return the hash of the bytes of a package's computing modules, 16 hex digits."""
    texts = sorted(hashlib.blake2b(path.read_bytes()).hexdigest() for path in _computing(package))
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=DIGITS // 2).hexdigest()


def _computing(package: Path) -> list[Path]:
    files = package.rglob("*.py")
    return [f for f in files if not _is_left_out(f.relative_to(package).with_suffix("").as_posix())]


@lru_cache
def plugin_hash(path: Path) -> str:
    """Return the hash of what a plug-in's source, a file or a folder, says, 16 hex digits.

    It is read once, as the process has imported it once.
    """
    if path.is_file() and path.suffix != ".py":  # compiled
        return hashlib.blake2b(path.read_bytes(), digest_size=DIGITS // 2).hexdigest()
    return _source_hash(path.rglob("*.py") if path.is_dir() else [path], path.stem)


def _source_hash(files: Iterable[Path], package: str) -> str:
    said: set[str] = set()
    for path in files:
        said.update(_statements(ast.parse(path.read_bytes()), package))
    text = "\n".join(sorted(hashlib.blake2b(one.encode()).hexdigest() for one in said))
    return hashlib.blake2b(text.encode(), digest_size=DIGITS // 2).hexdigest()


def _is_left_out(module: str) -> bool:
    return any(module == room or module.startswith(f"{room}/") for room in NOT_COMPUTING)


def _statements(module: ast.Module, package: str) -> Iterator[str]:
    """Give the text of each statement at the top of a module, and of each import anywhere."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node, package)
    for statement in module.body:
        if not _is_silent(statement):
            yield _dump(statement)


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    source = node.module if isinstance(node, ast.ImportFrom) else None
    for alias in node.names:
        root = (source or alias.name).split(".")[0]
        if root == package or (isinstance(node, ast.ImportFrom) and node.level):
            if alias.asname is not None and alias.asname != alias.name:
                yield f"import {alias.name.split('.')[-1]} as {alias.asname}"
        else:
            yield f"from {source} import {alias.name} as {alias.asname}"


def _is_silent(statement: ast.stmt) -> bool:
    """Say whether a statement is an import, a docstring or the list of a module's names."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    if isinstance(statement, ast.Assign):
        return [ast.unparse(target) for target in statement.targets] == ["__all__"]
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _dump(value: object) -> str:
    """Return a syntax tree as text without places, docstrings, imports and empty fields.

    The standard library's own text of the same source differs between versions of Python.
    """
    if isinstance(value, ast.AST):
        fields = ((name, getattr(value, name, None)) for name in value._fields)
        said = (f"{k}={_dump(v)}" for k, v in fields if v not in (None, []) and k != "type_comment")
        # A constant None would look like an absent field.
        none = isinstance(value, ast.Constant) and value.value is None
        return f"{type(value).__name__}({','.join(said)}{'None' if none else ''})"
    if isinstance(value, list):
        kept = (v for v in value if not (isinstance(v, ast.stmt) and _is_silent(v)))
        return f"[{','.join(_dump(one) for one in kept)}]"
    return repr(value)
