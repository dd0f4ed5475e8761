"""Optimizer state by parameter name: kept for some, forgotten for others."""

from typing import Any

import pytest
import torch

import hyperspec  # noqa: F401 - torchvision imports beside a CPU torch
from hyperspec.training.optimizer import NAMES, forgetting, moments_of, parameter_names
from hyperspec.utils.errors import ModelError


@pytest.fixture
def checkpoint() -> dict[str, Any]:
    import pytorch_lightning as pl

    module = pl.LightningModule()
    module.first, module.last = torch.nn.Linear(3, 2), torch.nn.Linear(2, 1)
    # Weights, then biases, as the training's optimizer has them.
    groups = [{"params": [p for p in module.parameters() if p.ndim == d]} for d in (2, 1)]
    optimizer = torch.optim.AdamW(groups)
    module.last(module.first(torch.ones(4, 3))).sum().backward()
    optimizer.step()
    names = parameter_names(optimizer, module)
    assert names == ["first.weight", "last.weight", "first.bias", "last.bias"]
    return {NAMES: names, "optimizer_states": [optimizer.state_dict()]}


def test_state_is_found_by_name(checkpoint: dict[str, Any]) -> None:
    found = moments_of(checkpoint, {"first.weight"})
    assert set(found) == {"last.weight", "first.bias", "last.bias"}
    assert found["last.weight"]["exp_avg"].shape == (1, 2)
    assert found["first.bias"]["exp_avg"].shape == (2,)


def test_forgotten_parameters_start_anew_and_the_rest_stays(checkpoint: dict[str, Any]) -> None:
    (left,) = forgetting(checkpoint, {"first.weight"})
    (whole,) = checkpoint["optimizer_states"]
    assert set(left["state"]) == {1, 2, 3}
    assert left["param_groups"] == whole["param_groups"]
    assert set(whole["state"]) == {0, 1, 2, 3}, "the argument is not changed"


def test_older_checkpoints_are_refused(checkpoint: dict[str, Any]) -> None:
    del checkpoint[NAMES]
    with pytest.raises(ModelError, match="does not name its optimizer's parameters"):
        moments_of(checkpoint, set())
