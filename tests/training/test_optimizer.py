from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from hyperspec.training.optimizer import (
    Optimisation,
    build_optimizer,
    build_schedule,
    warmup_cosine,
)
from hyperspec.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"lr": 0.0}, "lr is 0.0; give a learning rate above 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": 1e-3, "weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"lr": 1e-3, "warmup_steps": -1}, "warmup_steps is -1"),
    ],
)
def test_values_outside_their_range_are_refused(settings: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Optimisation(**settings)  # type: ignore[arg-type]


def test_schedule_follows_its_closed_form() -> None:
    warmup, total = 4, 20
    model = nn.Linear(2, 2)
    optimizer = build_optimizer(model.named_parameters(), Optimisation(0.5, 0.0, warmup))
    schedule = build_schedule(optimizer, Optimisation(0.5, 0.0, warmup), total)
    seen = []
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"] / 0.5)
        optimizer.step()
        schedule.step()
    rising = [(i + 1) / (warmup + 1) for i in range(warmup)]
    falling = [0.5 * (1 + math.cos(math.pi * i / (total - warmup))) for i in range(total - warmup)]
    assert seen == pytest.approx([*rising, *falling])
    assert warmup_cosine(total, warmup, total) == pytest.approx(0.0, abs=1e-12)


def test_warmup_as_long_as_the_run_is_refused() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    with pytest.raises(ConfigError, match="warmup_steps is 10, but the run has only 10"):
        build_schedule(optimizer, Optimisation(0.5, 0.0, 10), 10)


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (9, 0), (50, 5), (1000, 10)])
def test_the_default_warmup_is_a_tenth_of_the_run_at_most_ten_steps(
    total: int, warmup: int
) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    schedule = build_schedule(optimizer, Optimisation(1.0), total)
    factors = [schedule.lr_lambdas[0](step) for step in range(total)]
    assert int(np.argmax(factors)) == warmup
    assert factors[warmup] == 1.0


def test_biases_and_norms_are_not_decayed() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))
    optimizer = build_optimizer(model.named_parameters(), Optimisation(1e-3, 0.1))
    decay = {
        id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.1 if name in ("0.weight", "2.weight") else 0.0)


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Linear(3, 4)
    model.bias.requires_grad_(False)
    optimizer = build_optimizer(model.named_parameters(), Optimisation(1e-3))
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 1


def test_the_fused_step_is_that_of_the_loop() -> None:
    def run(fused: bool) -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.Linear(8, 4)
        optimizer = build_optimizer(layer.named_parameters(), Optimisation(1e-2, 0.1))
        assert optimizer.defaults["fused"] is True
        for group in optimizer.param_groups:
            group["fused"] = fused
        for _ in range(5):
            optimizer.zero_grad()
            layer(torch.ones(2, 8)).square().sum().backward()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in layer.parameters()])

    torch.testing.assert_close(run(True), run(False), atol=1e-6, rtol=1e-6)
