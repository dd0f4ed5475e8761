"""What benchmarks and studies take from the package is there; most are run by hand alone."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
from doc_blocks import ROOT

SCRIPTS = sorted(
    path for folder in ("benchmarks", "experiments") for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_it_imports_of_the_package_is_there(script: Path) -> None:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in taken:
        if (node.module or "").split(".")[0] != "hyperspec":
            continue
        module = importlib.import_module(node.module or "")
        missing = [one.name for one in node.names if not hasattr(module, one.name)]
        for name in missing:
            importlib.import_module(f"{node.module}.{name}")
