"""What docs/troubleshooting.md quotes is what the program says."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/troubleshooting.md"
SAID = [
    quoted
    for row in re.findall(r"^\| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    for quoted in re.findall(r"`([^`]+)`", row)
]


@cache
def texts() -> str:
    """All texts of the package, each on a line; what an f-string computes is left out."""
    found = []
    for file in (ROOT / "hyperspec").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(" ".join(node.value.split()))
    return "\n".join(found)


@pytest.mark.parametrize("quoted", SAID)
def test_the_program_says_so(quoted: str) -> None:
    assert quoted in texts()


def test_there_are_rows() -> None:
    assert len(SAID) > 20
