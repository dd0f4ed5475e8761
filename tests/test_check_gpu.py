"""The driver of `make check-gpu`: what its parts may not do to it, and what a machine is given."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("record", "check_gpu", "check_gpu_wheels"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def check(benchmarks: None) -> ModuleType:
    return importlib.import_module("check_gpu")


def test_a_part_that_takes_too_long_is_ended_and_told(check: ModuleType) -> None:
    found = check.run_part("memory", 0.2, True, "cpu")
    assert not found["passed"]
    assert found["status"] == "not done after 0 s"
    assert found["seconds"] < 60


def test_the_record_is_whole_after_each_part(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = None
    seen: list[dict[str, object]] = []

    def part(name: str, seconds: float, tiny: bool, device: str) -> dict[str, object]:
        nonlocal path
        path = next(iter(tmp_path.glob("*.json")), None)
        seen.append({} if path is None else json.loads(path.read_text())["parts"])
        assert (tiny, device) == (True, "cpu")
        return {"passed": name != "micro", "seconds": 1.0, "cpu_seconds": 1.0, "checks": []}

    monkeypatch.setattr(check, "run_part", part)
    words = ["check_gpu.py", "--tiny", "--only", "micro,memory,train", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    assert check.main() == 1  # one of them failed
    assert [list(parts) for parts in seen] == [[], ["micro"], ["micro", "memory"]]
    assert path is not None
    content = json.loads(path.read_text())
    assert content["rehearsal"]
    assert path.name.startswith("gpu_check_rehearsal_")
    assert list(content["parts"]) == ["micro", "memory", "train"]


def test_what_is_downloaded_is_what_was_tested_together(benchmarks: None) -> None:
    wheels = importlib.import_module("check_gpu_wheels")
    names = wheels.pinned(wheels.STEPS + wheels.TRAIN)
    assert all("==" in name for name in names)
    assert not {"rasterio", "mlflow", "colour-science"} & {name.split("==")[0] for name in names}


@pytest.mark.slow
def test_steps_run_in_tiny_on_the_cpu_with_their_own_wheels_alone(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = importlib.import_module("check_gpu_wheels")
    missing = {name.replace("-", "_") for name in wheels.TRAIN if name not in wheels.STEPS}
    missing |= {"mlflow", "rasterio", "colour", "hypothesis", "sqlalchemy"}
    missing -= {"click", "rich", "filelock", "requests", "joblib", "threadpoolctl"}  # torch's own
    blocked = f"import sys\nfor name in {sorted(missing)}:\n    sys.modules[name] = None\n"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    found = check.run_part("micro", 600, True, "cpu")
    assert found["passed"], found.get("output")
    assert {c["what"] for c in found["checks"]} >= {"micro-batches of 3, plain"}
