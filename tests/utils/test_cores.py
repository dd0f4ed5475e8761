"""Cores that a process may use, not those that the machine has."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from hyperspec.utils import cores

PACKAGE = Path(cores.__file__).parents[1]


def test_a_container_may_allow_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 7}, raising=False)
    assert cores.usable_cores() == 2


@pytest.mark.parametrize(("told", "expected"), [(8, 8), (None, 1)])
def test_systems_without_such_a_set_count_all(
    told: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: told)
    assert cores.usable_cores() == expected


def test_all_of_the_package_counts_by_it() -> None:
    """Threads that read, prepare or train: none asks the machine past it."""
    asking = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"cpu_count\(|sched_getaffinity\(", path.read_text(encoding="utf-8"))
    ]
    assert asking == [str(Path("utils") / "cores.py")]
