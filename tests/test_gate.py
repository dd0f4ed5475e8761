"""The gate on speed: what it decides, and that it keeps a number for each of its ratios."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gate")


def test_each_ratio_has_a_kept_value(gate: ModuleType) -> None:
    kept = json.loads(gate.KEPT.read_text())
    assert kept["ratios"].keys() == gate.CASES.keys()
    assert kept["machine"]["processor"]


def test_what_is_over_the_limit_each_time_fails(gate: ModuleType) -> None:
    assert gate.judge(1.1, iter([1.2, 1.05, 9.0])) == (True, [1.2, 1.05])
    assert gate.judge(1.1, iter([1.2, 1.11, 1.101])) == (False, [1.2, 1.11, 1.101])


def test_what_is_slower_is_named(
    gate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    ratios = {"equal": 1.09, "slower": 2.3}
    monkeypatch.setattr(gate, "measure", lambda pair: pair)
    monkeypatch.setattr(gate, "CASES", {name: lambda f: ratios[f.name] for name in ratios})
    assert gate.run(ratios, {"equal": 1.0, "slower": 2.0}, tmp_path) == ["slower"]
    *_, last = capsys.readouterr().out.splitlines()
    assert last.split() == ["slower", "2.300,", "2.300,", "2.300", "at", "most", "2.200", "OVER"]
