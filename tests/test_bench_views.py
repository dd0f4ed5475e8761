"""The benchmark of views: other sides do the same operations, and ratios are what they say."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hyperspec.transforms.config import ViewsConfig

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "record", raising=False)
    return importlib.import_module("bench_views")


def test_kornia_and_torchvision_do_the_same(bench: ModuleType) -> None:
    # Nothing is left to chance but the light, which one seed draws alike.
    config = ViewsConfig(
        crop_min=1.0, rotation_deg=0.0, flip_horizontal=1.0, flip_vertical=1.0, noise_sd=0.0
    )
    made = {}
    calls = bench.ways(config, 5, 16, 3, torch.float32, compiled=False)
    for name in ("chain", "torchvision"):
        torch.manual_seed(0)
        made[name] = calls[name]()
    torch.testing.assert_close(made["torchvision"], made["chain"], rtol=1e-4, atol=1e-4)
    assert made["chain"].abs().sum() > 0


@pytest.mark.parametrize("recipe", ["default", "blur+drop"])
def test_all_ways_give_views_of_one_size(bench: ModuleType, recipe: str) -> None:
    calls = bench.ways(bench.RECIPES[recipe], 7, 16, 3, torch.float32, compiled=False)
    shapes = {name: tuple(call().shape) for name, call in calls.items()}
    few = (3, bench.WIDTH, 16, 16)
    assert shapes == {name: few if name.startswith("proj") else (3, 7, 16, 16) for name in calls}


def test_ratios_are_medians_over_rounds_and_add_the_projection(bench: ModuleType) -> None:
    seconds = {
        "chain": [8.0, 8.0, 80.0], "torchvision": [4.0, 4.0, 40.0], "projection": [1.0, 1.0, 10.0],
        "long": [2.0, 2.0, 20.0], "projected": [0.5, 0.5, 10.0],
    }  # fmt: skip
    found = bench.compare({name: {"processor": values} for name, values in seconds.items()})
    assert found == {
        "long": {"chain": 4.0, "torchvision": 2.0},
        "projected": {"chain": 18.0, "torchvision": 10.0},
    }
