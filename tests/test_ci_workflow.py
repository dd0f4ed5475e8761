"""The workflow for three systems names commands and targets that exist, and the Makefile's own."""

from __future__ import annotations

import itertools
import re
import shlex
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    found = yaml.safe_load(text)["jobs"]
    assert isinstance(found, dict)
    return found


def commands(jobs: dict[str, Any], on_windows: bool | None = None) -> list[str]:
    """Return what is run, in order; of the matrix alone where a system is asked for."""
    chosen = jobs if on_windows is None else {"systems": jobs["systems"]}
    steps = [step for one in chosen.values() for step in one["steps"] if "run" in step]
    if on_windows is not None:
        steps = [step for step in steps if (step["if"] == "runner.os == 'Windows'") == on_windows]
    return [line for step in steps for line in step["run"].splitlines()]


def test_every_system_runs_every_python(jobs: dict[str, Any]) -> None:
    matrix = jobs["systems"]["strategy"]["matrix"]
    left_out = [(one["os"], one["python"]) for one in matrix["exclude"]]
    for os, python in itertools.product(("ubuntu", "macos", "windows"), ("3.11", "3.12", "3.13")):
        assert f"{os}-latest" in matrix["os"]
        assert python in matrix["python"]
    assert left_out == [("ubuntu-latest", "3.11")]
    whole = jobs["all"]
    assert whole["runs-on"] == "ubuntu-latest"
    assert [step["with"]["python-version"] for step in whole["steps"] if "with" in step] == ["3.11"]


def test_every_command_exists(jobs: dict[str, Any]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for line in commands(jobs):
        first, *rest = shlex.split(line)
        if first == "make":
            assert {word for word in rest if "=" not in word} <= {*targets}, line
        elif first == "python":
            assert rest[0] == "-m", line
            # Not find_spec: looking for pip turns setuptools' distutils into the library's, which
            # torch's compiler does not know afterwards.
            assert distribution(rest[1]).files, line
        else:
            assert (ROOT / first).stat().st_mode & 0o111, line


def test_without_make_the_same_is_run(jobs: dict[str, Any]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    plain = commands(jobs, on_windows=True)
    assert commands(jobs, on_windows=False) == ["make lint", "make test"]
    # mypy asks there for the system that it runs on.
    own = [line for line in re.findall(r"\$\(BIN\)/(.+)", lint) if "PLW1514" not in line]
    assert [f"python -m {line}" for line in own] == plain[1:-1]
    flags = re.search(r"\$\(BIN\)/pytest -n \$\(WORKERS\) (.*)", makefile)
    assert flags is not None
    assert flags[1] in plain[-1]
    assert '-m "not slow and not gpu"' in plain[-1]
    assert "make test WITH=slow" in (ROOT / ".ci/run").read_text(encoding="utf-8")
