from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest

from hyperspec.tracking.names import flatten, run_name


class _Mode(Enum):
    auto = 1


@dataclass
class _Bands:
    n: int = 50
    nm: tuple[float, ...] = (650.0, 550.0)


@dataclass
class _Config:
    bands: _Bands = field(default_factory=_Bands)
    lr: float = 1e-3
    ckpt: Path | None = None
    compile: bool = False
    mode: _Mode = _Mode.auto
    schedule: list[dict[str, int]] = field(default_factory=lambda: [{"bands": 20}, {"bands": 50}])


def test_a_config_becomes_dotted_names_with_text_as_typed() -> None:
    assert flatten(_Config()) == {
        "bands.n": "50",
        "bands.nm": "[650.0,550.0]",
        "lr": "0.001",
        "ckpt": "null",
        "compile": "false",
        "mode": "auto",
        "schedule.0.bands": "20",
        "schedule.1.bands": "50",
    }


def test_plain_mappings_flatten_the_same_way() -> None:
    assert flatten({"a": {"b": Path("/x"), "c": []}, "d": True}) == {
        "a.b": "/x",
        "a.c": "[]",
        "d": "true",
    }


def test_run_names_read_well() -> None:
    assert run_name("uniform", 50, 0.1, 1e-3, 0) == "uniform n=050 t=0.10 lr=1e-3 seed=0"
    assert run_name("rgb", 3, 0.075, 3.2e-4, 1) == "rgb n=003 t=0.075 lr=3.2e-4 seed=1"
    turned = run_name("uniform", 50, 0.1, 1e-3, 0, rotation=2)
    assert turned == "uniform n=050 t=0.10 lr=1e-3 rotation=2 seed=0"
    assert run_name("full", 0, seed=1) == "full seed=1"  # how many they are is not known yet
    assert run_name("full", 408, extra={"views": "strong"}) == "full n=408 views=strong"


@pytest.mark.parametrize("counts", [[10, 20, 50, 100, 200, 408], [1, 9, 99, 408]])
def test_names_sort_by_number_of_bands(counts: list[int]) -> None:
    names = [run_name("uniform", n, 0.1, 1e-3, 0) for n in counts]
    assert sorted(names) == names
