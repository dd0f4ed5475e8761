"""hardware=auto takes the device of the machine, and on the CPU no job becomes another one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import DictConfig

from hyperspec.config import found_device, groups
from hyperspec.config.compose import compose_words
from hyperspec.config.option_list import list_options
from hyperspec.config.schema import Train
from hyperspec.runs.identity import identity, parts_of
from hyperspec.sweeps.folder import asked
from hyperspec.utils.errors import ConfigError

CPU = ("cpu", "32-true")


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A machine with a CPU alone, an NVIDIA card of a capability, an AMD card, or a Mac."""
    kind, _, capability = str(request.param).partition(" ")
    monkeypatch.delenv(found_device.VARIABLE)
    monkeypatch.setattr(found_device, "_why_no_gpu", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: kind in ("cuda", "rocm"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: f"card {capability}".strip())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (int(capability), 0))
    monkeypatch.setattr(torch.version, "hip", "7.0" if kind == "rocm" else None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: kind == "mps")
    found_device.found_device.cache_clear()
    yield kind
    found_device.found_device.cache_clear()


def composed(*words: str) -> DictConfig:
    return compose_words(["data.root=folder", *words])


def job(*words: str) -> Train:
    return groups.to_job(composed(*words))


def hash_of(*words: str) -> str:
    made = job(*words)
    return identity(made, "data", "split", parts_of(made), source="").hash


@pytest.mark.parametrize(
    ("machine", "settings", "line"),
    [
        ("cpu", CPU, "device: CPU, float32; hardware=auto: torch sees no GPU"),
        ("mps", ("gpu", "32-true"), "device: this Mac's GPU (MPS), float32; hardware=auto"),
        ("cuda 9", ("gpu", "bf16-mixed"), "device: card 9 (CUDA), bfloat16; hardware=auto"),
        ("cuda 7", ("gpu", "32-true"), "device: card 7 (CUDA), float32; hardware=auto"),
        ("rocm", ("gpu", "bf16-mixed"), "device: card (ROCm), bfloat16; hardware=auto"),
    ],
    indirect=["machine"],
)
def test_the_default_takes_what_the_machine_has(
    machine: str, settings: tuple[str, str], line: str
) -> None:
    made = job().hardware
    assert (made.accelerator, made.precision) == settings
    assert found_device.found_device().line == line


@pytest.mark.parametrize("machine", ["cpu"], indirect=True)
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["hardware.precision=bf16-mixed"],
        ["hardware.devices=2"],
        ["hardware.micro_batch=8", "hardware.threads=1"],
    ],
)
def test_on_the_cpu_a_job_stays_the_job_that_it_was(machine: str, words: list[str]) -> None:
    assert hash_of(*words) == hash_of("hardware=cpu", *words)
    assert asdict(job(*words)) == asdict(job("hardware=cpu", *words))


@pytest.mark.parametrize("machine", ["cpu"], indirect=True)
def test_a_sweep_folder_of_before_is_gone_on_with(machine: str) -> None:
    now, before = asked(composed(), {}), asked(composed("hardware=cpu"), {})
    assert now == before
    assert now["hardware.accelerator"] == "cpu"


@pytest.mark.parametrize("machine", ["cuda 8"], indirect=True)
def test_on_a_card_the_default_is_the_option_gpu(machine: str) -> None:
    assert asdict(job().hardware) == asdict(job("hardware=gpu").hardware)
    assert hash_of() == hash_of("hardware=gpu") != hash_of("hardware=cpu")
    assert asdict(job("hardware=cpu").hardware)["accelerator"] == "cpu"


@pytest.mark.parametrize("machine", ["cuda 9"], indirect=True)
def test_a_variable_keeps_a_shell_on_the_cpu(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSPEC_DEVICE", "cpu")
    assert (job().hardware.accelerator, job().hardware.precision) == CPU
    assert found_device.found_device().line.endswith("hardware=auto: HYPERSPEC_DEVICE=cpu")
    found_device.found_device.cache_clear()
    monkeypatch.setenv("HYPERSPEC_DEVICE", "gpu")
    with pytest.raises(ConfigError, match="HYPERSPEC_DEVICE is 'gpu'; it may be cpu"):
        found_device.found_device()


@pytest.mark.parametrize(
    ("platform", "cuda", "drivers", "why"),
    [
        ("linux", "None", [], "torch is built without GPU support"),
        ("linux", "'13.0'", [], "no driver of a GPU is loaded"),
        ("linux", "'13.0'", ["nvidia0"], None),
        ("win32", "'13.0'", [], None),
        ("win32", "None", [], "torch is built without GPU support"),
    ],
)
def test_torch_is_asked_only_where_a_gpu_may_be(
    platform: str,
    cuda: str,
    drivers: list[str],
    why: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "version.py").write_text(f"cuda: Optional[str] = {cuda}\nhip: Optional[str] = None")
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(
        Path, "glob", lambda _, name: [Path(one) for one in drivers if Path(one).match(name)]
    )
    assert found_device._why_no_gpu() == why


def test_options_and_words_need_no_torch_to_tell_the_default() -> None:
    (accelerator,) = (one for one in list_options() if one.key == "hardware.accelerator")
    assert accelerator.default == "as found"
    code = (
        "import sys; from hyperspec.config.compose import compose_words; "
        "compose_words(['data.root=x']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
