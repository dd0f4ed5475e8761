from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from hyperspec.config.hardware import Hardware
from hyperspec.training.devices import choose_device, random_states_kept


def test_float32_stays_float32_on_a_gpu(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TF32, torch's own choice for convolutions, keeps 10 bits of what is projected."""
    kinds = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [flags.allow_tf32 for flags in kinds]
    request.addfinalizer(
        lambda: [setattr(f, "allow_tf32", b) for f, b in zip(kinds, before, strict=True)]
    )
    for flags in kinds:
        flags.allow_tf32 = True
    assert choose_device(Hardware(accelerator="cpu")) == torch.device("cpu")
    assert torch.backends.cudnn.allow_tf32
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device(Hardware(accelerator="gpu")) == torch.device("cuda", 1)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_random_states_of_one_device_alone_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    forked: list[Any] = []
    real = torch.random.fork_rng

    def fork(devices: Any = "all of them") -> Any:
        forked.append(devices)
        return real(devices=[]) if not devices else nullcontext()

    monkeypatch.setattr(torch.random, "fork_rng", fork)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with random_states_kept(torch.device("cpu")):
        torch.rand(7)
    assert torch.equal(torch.rand(2), expected)
    with random_states_kept(torch.device("cuda", 2)):
        pass
    assert forked == [[], [2]]
