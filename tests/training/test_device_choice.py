"""One function decides the device; Lightning, checkpoints and replays follow it."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from hyperspec.config.hardware import Hardware
from hyperspec.losses import grad_cache
from hyperspec.training import devices
from hyperspec.training.callbacks.checkpointing import random_states, restore_random_states
from hyperspec.training.devices import (
    choose_device,
    count_devices,
    device_kind,
    lightning_devices,
)
from hyperspec.utils.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    kind: str = request.param
    monkeypatch.delenv("HYPERSPEC_DEVICE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 if kind == "cuda" else 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: kind == "mps")
    return kind


@pytest.mark.parametrize(
    ("machine", "asked", "found"),
    [
        ("cpu", "auto", "cpu"), ("cpu", "cpu", "cpu"), ("cpu", "gpu", None),
        ("mps", "auto", "mps"), ("mps", "cpu", "cpu"), ("mps", "gpu", "mps"),
        ("cuda", "auto", "cuda"), ("cuda", "cpu", "cpu"), ("cuda", "gpu", "cuda"),
    ],
    indirect=["machine"],
)  # fmt: skip
def test_lightning_takes_the_device_that_is_chosen(
    machine: str, asked: str, found: str | None
) -> None:
    hardware = Hardware(accelerator=asked)
    if found is None:
        assert device_kind(hardware) == "cuda"  # what a plan is made for
        for choose in (choose_device, count_devices):
            with pytest.raises(ConfigError, match="torch sees no CUDA device"):
                choose(hardware)
        return
    device = choose_device(hardware)
    assert device.type == found == device_kind(hardware)
    assert count_devices(hardware) == 1
    told = lightning_devices(device, 1)
    assert told == {"accelerator": found, "devices": [1] if found == "cuda" else 1}


@pytest.mark.parametrize("machine", ["mps"], indirect=True)
def test_a_mac_has_one_gpu(machine: str) -> None:
    assert count_devices(Hardware(accelerator="auto", devices="all")) == 1
    with pytest.raises(ConfigError, match=r"hardware\.devices is 2, but torch sees 1 GPU"):
        count_devices(Hardware(accelerator="auto", devices=2))


def test_lightning_knows_these_words() -> None:
    words = lightning_devices(torch.device("cpu"), 1)
    trainer = pl.Trainer(**words, logger=False, enable_checkpointing=False)
    assert trainer.strategy.root_device == torch.device("cpu")


@pytest.mark.parametrize("machine", ["cuda"], indirect=True)
def test_random_states_of_more_cards_than_are_seen_are_left(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: dict[int, int] = {}
    monkeypatch.setattr(
        torch.cuda, "get_rng_state_all", lambda: [torch.tensor(n) for n in (10, 11, 12, 13)]
    )
    monkeypatch.setattr(
        torch.cuda, "set_rng_state", lambda state, device: set_to.update({device: int(state)})
    )
    states = random_states()
    restore_random_states(states)
    assert set_to == {0: 10, 1: 11}
    states["cuda"] = states["cuda"][:1]  # of fewer cards than are seen here
    set_to.clear()
    restore_random_states(states)
    assert set_to == {0: 10}


def test_a_checkpoint_of_cards_is_resumed_on_the_cpu() -> None:
    states = random_states()
    states["cuda"] = [torch.zeros(16, dtype=torch.uint8)] * 2
    expected = torch.rand(3)
    restore_random_states(states)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("machine", ["mps"], indirect=True)
def test_random_states_of_a_mac_are_kept_and_replayed(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[torch.Tensor] = []
    state = torch.arange(4, dtype=torch.uint8)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: state)
    monkeypatch.setattr(torch.mps, "set_rng_state", set_to.append)
    restore_random_states(random_states())
    assert torch.equal(set_to[0], state)
    generator = torch.Generator()
    monkeypatch.setattr(torch.mps, "_get_default_mps_generator", lambda: generator)
    assert generator in grad_cache._every_generator(())
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert generator not in grad_cache._every_generator(())
    states = random_states()
    assert "mps" not in states
    restore_random_states({**states, "mps": state})  # of a Mac, resumed elsewhere
    assert len(set_to) == 1


@pytest.mark.parametrize("machine", ["cuda"], indirect=True)
def test_an_untested_gpu_is_said_once(machine: str, caplog: pytest.LogCaptureFixture) -> None:
    devices._say_untested.cache_clear()
    with caplog.at_level(logging.WARNING, devices.__name__):
        for _ in range(2):
            choose_device(Hardware(accelerator="gpu"))
        choose_device(Hardware(accelerator="cpu"))
    assert len(caplog.records) == (0 if devices.TESTED_ON else 1)


def test_what_is_called_tested_has_a_record() -> None:
    """A card is tested where `make check-gpu` left its record; log and documents then say so."""
    records = {path.name for path in (ROOT / "benchmarks" / "results").glob("gpu_check_*.json")}
    cards = {name for name in records if "rehearsal" not in name}
    assert {re.sub(r"[^a-z0-9]+", "-", card.lower()) for card in devices.TESTED_ON} == {
        re.sub(r"^gpu_check_(.*)_\d{4}-\d\d-\d\d\.json$", r"\1", name) for name in cards
    }
    for path in ("README.md", "docs/hardware.md"):
        assert ("untested on hardware" in (ROOT / path).read_text()) == (not devices.TESTED_ON)


def test_what_a_macs_gpu_lacks_is_computed_on_its_cpu() -> None:
    script = (
        "import os, sys; sys.platform = 'darwin'; "
        "os.environ.pop('PYTORCH_ENABLE_MPS_FALLBACK', 0); "
        "import hyperspec; assert 'torch' not in sys.modules; "
        "print(os.environ['PYTORCH_ENABLE_MPS_FALLBACK'])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert told.stdout == "1\n", told.stderr
