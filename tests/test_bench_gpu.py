"""The GPU benchmark: its code in tiny on the CPU, its targets where there is a GPU."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "record", raising=False)
    return importlib.import_module("bench_gpu")


def test_all_of_it_runs_in_tiny_on_the_cpu(
    bench: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["bench_gpu.py", "--device", "cpu", "--tiny", "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", words)
    bench.main()
    text = capsys.readouterr().out
    for name in ("TB/s", "input ", "views ", "step_3_channels", "utilisation", *bench.TARGETS):
        assert name in text


def test_ratios_and_floors_follow_from_what_was_measured(bench: ModuleType) -> None:
    found = bench.measure(bench.TINY, torch.device("cpu"), 1)
    seconds = {name: row["median"] for name, row in found["seconds"].items()}
    assert found["ratio_to_3_channels"] == seconds["step"] / seconds["step_3_channels"]
    assert found["views_share"] == seconds["views"] / seconds["step"]
    bytes_in = 4 * 32 * 32 * 12 * (2 + 2)
    assert found["floors_s"]["input"] == bytes_in / found["limits"]["bytes_per_s"]
    # ResNet-18 has 1.81 G multiply-adds forward at 224 px, three times that in a step, less the
    # gradient at the pixels, which ready images do not need.
    images, macs = 2 * 4, 1.81e9 * (32 / 224) ** 2
    assert found["flop_3_channels"] == pytest.approx(2 * 3 * images * macs, rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_keeps_to_its_targets(bench: ModuleType) -> None:
    found = bench.measure(bench.Shape(), torch.device("cuda"), 10)
    missed = {name: found[name] for name, most in bench.TARGETS.items() if found[name] > most}
    assert not missed


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_never_waits_for_the_gpu(bench: ModuleType) -> None:
    device = torch.device("cuda")
    step = bench.Step(bench.TINY, device)
    planes, masks = step.bank()

    def whole() -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            step.train(step.make(*step.load(planes, masks)))

    whole()  # what is prepared once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        whole()
    finally:
        torch.cuda.set_sync_debug_mode("default")
