"""Says, as the reason of a skip, when a pin of pyproject.toml can move; fails for none of it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
NEEDED = [Requirement(one) for one in PROJECT["dependencies"]]
NEEDED += [Requirement(one) for one in PROJECT["optional-dependencies"]["slurm"]]
CANDIDATES = [
    (one.name, Version(next(s.version for s in one.specifier if s.operator == ">=")))
    for one in NEEDED
    if "rc" in str(one.specifier)
]


def released(listing: str) -> list[Version]:
    """Read the final versions that `pip index versions` lists, the newest first."""
    (line,) = re.findall(r"^Available versions: (.+)$", listing, re.MULTILINE)
    found = sorted(map(Version, line.split(", ")), reverse=True)
    return [one for one in found if not one.is_prerelease]


def asked(name: str) -> list[Version]:
    """Ask the package registry; skip where there is none."""
    command = [sys.executable, "-m", "pip", "index", "versions", name, "--timeout", "10"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no registry of packages answers ({done.stderr.strip()[-200:]})")
    return released(done.stdout)


def test_finals_are_read_from_the_listing() -> None:
    listing = "x (1.3.8)\nAvailable versions: 1.3.8, 1.10.0, 1.4.0rc3\n  INSTALLED: 1.4.0rc3\n"
    assert released(listing) == [Version("1.10.0"), Version("1.3.8")]
    names = {name for name, _ in CANDIDATES}
    assert names >= {"hydra-core", "hydra-optuna-sweeper", "hydra-joblib-launcher", "omegaconf"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "candidate"), CANDIDATES, ids=[name for name, _ in CANDIDATES])
def test_a_candidate_is_pinned_until_its_final_is_out(name: str, candidate: Version) -> None:
    final = Version(candidate.base_version)
    if newer := [one for one in asked(name) if one >= final]:
        pytest.skip(f"{name} {newer[0]} is out: the pin >={candidate} can move")


@pytest.mark.slow
def test_mlflows_newest_is_known() -> None:
    (pin,) = [one for one in NEEDED if one.name == "mlflow"]
    line = next(
        line
        for line in Path(__file__).parents[1].joinpath("constraints.txt").read_text().splitlines()
        if line.startswith("mlflow==")
    )
    tried = Version(line.removeprefix("mlflow=="))
    newer = [one for one in asked("mlflow") if one > tried and one in pin.specifier]
    if newer:
        pytest.skip(f"mlflow {newer[0]} is out, {tried} was tried: constraints.txt can move")
