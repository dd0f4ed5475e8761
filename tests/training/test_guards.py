"""Collapse is noticed, NaN stops with what one needs to know, cached gradients are measured."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_local_training import module_of, step
from torch import Tensor, nn

from hyperspec.datasets.loading.prefetch import Batch
from hyperspec.evaluation.evaluators.rankme import rankme
from hyperspec.losses import CombinedConfig, NtXentConfig
from hyperspec.models.config import ResNetConfig, TinyConfig
from hyperspec.training.callbacks.checkpointing import KeepCheckpoints, Slots, pl, random_states
from hyperspec.training.callbacks.guards import (
    NoticeCollapse,
    cached_gradient_error,
    effective_rank,
    relative_spread,
)
from hyperspec.training.callbacks.monitoring import (
    GradientNorm,
    StopOnNonFinite,
    TrainingError,
    Validate,
    stage_of,
)
from hyperspec.training.simclr import SimCLR

BATCH = Batch(torch.arange(8))


def trainer(**more: Any) -> pl.Trainer:
    held = {"global_step": 7, "current_epoch": 2, "is_global_zero": True, "callbacks": []}
    return SimpleNamespace(**{**held, **more})  # type: ignore[return-value]


# --- collapse ---


def test_the_rank_is_that_of_the_evaluation() -> None:
    x = np.random.default_rng(0).normal(size=(40, 9)) @ np.diag(0.5 ** np.arange(9))
    assert float(effective_rank(torch.tensor(x))) == pytest.approx(rankme(x), rel=1e-3)
    assert float(effective_rank(torch.ones(5, 3))) == pytest.approx(1, abs=1e-3)
    assert float(effective_rank(torch.zeros(5, 3))) == pytest.approx(1)
    assert float(effective_rank(torch.eye(4))) == pytest.approx(4)


def test_the_spread_is_relative() -> None:
    x = torch.tensor([[10.0, 1.0], [10.0, -1.0]])
    assert float(relative_spread(x)) == pytest.approx(101**-0.5)
    assert float(relative_spread(5 * x)) == pytest.approx(101**-0.5)
    assert float(relative_spread(torch.zeros(3, 2))) == 0


def watched(module: SimCLR, tags: dict[str, str], checks: int) -> None:
    notice = NoticeCollapse(1, tags.update)
    for _ in range(checks):
        step(module)
        notice.on_train_batch_end(trainer(), module, {}, BATCH, 0)


def flattened(module: SimCLR) -> SimCLR:
    """The features of all specimens become alike, as after a collapse."""
    last = list(module.encoder.backbone.stages)[-1]
    assert isinstance(last, nn.Sequential)
    nn.init.zeros_(last[0].weight)
    nn.init.ones_(last[1].bias)
    return module


def test_a_collapse_is_said_once_and_tagged(caplog: pytest.LogCaptureFixture) -> None:
    tags: dict[str, str] = {}
    module = flattened(module_of(TinyConfig(), NtXentConfig()))
    with caplog.at_level(logging.WARNING):
        watched(module, tags, 2)
        assert not caplog.records
        watched(module, tags, 5)
    (said,) = caplog.messages
    assert said.startswith("The embeddings have collapsed: at step 7 (epoch 2) and 2 checks before")
    assert "loss=vicreg" in said
    assert tags["hyperspec.collapse"].startswith("step 7: effective rank")
    logged: dict[str, float] = module.logged  # type: ignore[assignment]
    assert logged["train/feature_spread"] < 1e-3


def test_a_healthy_run_is_not_called_collapsed(caplog: pytest.LogCaptureFixture) -> None:
    tags: dict[str, str] = {}
    module = module_of(TinyConfig(), NtXentConfig())
    with caplog.at_level(logging.WARNING):
        watched(module, tags, 5)
    assert not tags
    assert not caplog.records
    logged: dict[str, float] = module.logged  # type: ignore[assignment]
    assert logged["train/effective_rank"] > 2


# --- not a number ---


def ended(guard: StopOnNonFinite, at: pl.Trainer, loss: float, rows: list[int]) -> None:
    outputs = {"loss": torch.tensor(loss)}
    guard.on_train_batch_end(at, pl.LightningModule(), outputs, Batch(torch.tensor(rows)), 0)


def test_nan_names_step_files_and_that_there_is_no_checkpoint() -> None:
    guard = StopOnNonFinite([f"{i}.bil" for i in range(9)])
    ended(guard, trainer(), 1.0, [0, 1])
    with pytest.raises(TrainingError) as error:
        ended(guard, trainer(), float("nan"), [2, 3, 4, 5, 6])
    assert str(error.value) == (
        "The loss became nan at step 7 (epoch 2) on a batch of 5 images: 2.bil, 3.bil, 4.bil, "
        "5.bil and 1 more. Lower lr, raise loss.temperature, set clip_norm, or use "
        "hardware.precision=32; `hyperspec check` finds NaN in cubes. No checkpoint was kept "
        "before."
    )


def test_late_checks_still_name_the_first_bad_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = Slots(tmp_path)
    monkeypatch.setattr(Slots, "latest", lambda _self: tmp_path / "a.ckpt")
    monkeypatch.setattr("hyperspec.training.callbacks.monitoring.origin", lambda _path: ("run", 4))
    kept = KeepCheckpoints(slots, 0, "run", lambda: None)
    guard = StopOnNonFinite([f"{i}.bil" for i in range(9)], every_n_steps=3)
    ended(guard, trainer(global_step=5), 1.0, [0])
    ended(guard, trainer(global_step=6), float("inf"), [1])
    with pytest.raises(TrainingError) as error:
        ended(guard, trainer(callbacks=[kept]), float("nan"), [2])
    assert "The loss became inf at step 6 (epoch 2) on a batch of 1 images: 1.bil" in str(
        error.value
    )
    assert f"The last good checkpoint is {tmp_path / 'a.ckpt'} (step 4)." in str(error.value)


@pytest.mark.parametrize("bad", [[1.0, np.nan], [np.inf, 0.0], [-np.inf, np.inf]])
def test_an_epoch_that_ends_with_bad_weights_keeps_no_checkpoint(bad: list[float]) -> None:
    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    module, guard = Module(), StopOnNonFinite(["a.bil"], every_n_steps=100)
    ended(guard, trainer(), 1.0, [0])
    guard.on_train_epoch_end(trainer(), module)
    ended(guard, trainer(), 1.0, [0])
    module.weight.data[:] = 3e38  # their sum is infinite, they are not
    guard.on_train_epoch_end(trainer(), module)
    ended(guard, trainer(), 1.0, [0])
    module.weight.data[:] = torch.tensor(bad)
    with pytest.raises(TrainingError, match=r"Weights became NaN or infinite at step 7 .* a\.bil"):
        guard.on_train_epoch_end(trainer(), module)


# --- gradient norms ---


@pytest.mark.parametrize(
    ("model", "stages"),
    [
        (TinyConfig(), {"projection", "conv1", "conv2", "conv3", "head"}),
        (
            ResNetConfig(stem="inflate"),
            {"stem", "layer1", "layer2", "layer3", "layer4", "head", "cell_head"},
        ),
    ],
)
def test_gradient_norms_by_stage(model: Any, stages: set[str]) -> None:
    combined = "cell_head" in stages
    module = module_of(model, CombinedConfig() if combined else NtXentConfig())
    step(module)
    at = trainer(global_step=10)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    GradientNorm(10).on_before_optimizer_step(at, module, optimizer)
    logged: dict[str, Tensor] = module.logged  # type: ignore[assignment]
    norms = {k.removeprefix("grad_norm/"): v for k, v in logged.items() if "grad_norm/" in k}
    assert set(norms) == stages
    for stage, norm in norms.items():
        of = [
            p.grad.flatten()
            for name, p in module.named_parameters()
            if p.grad is not None and stage_of(name) == stage
        ]
        exact = torch.cat(of).double().norm()  # of millions of float32 squares
        torch.testing.assert_close(norm.double(), exact, rtol=1e-3, atol=0)
    total = sum(float(n) ** 2 for n in norms.values()) ** 0.5
    assert float(logged["train/grad_norm"]) == pytest.approx(total, rel=1e-5)
    logged.clear()
    GradientNorm(10).on_before_optimizer_step(trainer(global_step=11), module, optimizer)
    assert not logged


# --- cached gradients ---


@pytest.mark.parametrize("loss", [NtXentConfig(0.2, queue_size=5), CombinedConfig()])
def test_the_measured_error_is_rounding_and_nothing_is_changed(loss: Any) -> None:
    module = module_of(TinyConfig(norm="group"), loss, micro_batch=3)
    step(module)  # fills a queue
    module.zero_grad()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    states = random_states()
    error = cached_gradient_error(module, BATCH)
    assert error < 1e-5
    assert torch.equal(states["torch"], random_states()["torch"])
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in module.parameters())


def test_a_forward_pass_that_changes_in_the_replay_is_measured() -> None:
    """What the measure is for."""
    module = module_of(TinyConfig(norm="group"), NtXentConfig(0.2), micro_batch=3)
    calls = [0]

    class Forgets(nn.Module):
        """Draws differently in the replay."""

        def forward(self, x: Tensor) -> Tensor:
            calls[0] += 1
            return x * (1 + 0.1 * (calls[0] % 5))

    module.encoder.backbone.stages.append(Forgets())
    assert cached_gradient_error(module, BATCH) > 1e-3


def test_the_best_score_stands_beside_the_last_also_after_an_interruption() -> None:
    scores, logged = iter([0.5, 0.75, 0.25, 0.5]), []
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.append(values))

    def watched(epochs: range, state: dict[str, Any] | None = None) -> Validate:
        callback = Validate(lambda: {"val/knn_top1": next(scores), "val/other": 9.0}, 2)
        if state is not None:
            callback.load_state_dict(state)
        for epoch in epochs:
            held = {"current_epoch": epoch, "max_epochs": 100, "global_step": epoch + 1}
            trainer: Any = SimpleNamespace(**held, loggers=[logger])
            callback.on_train_epoch_end(trainer, None)
        return callback

    first = watched(range(4))  # scores after the second and the fourth epoch
    watched(range(4, 8), first.state_dict())
    assert [row["val/knn_top1"] for row in logged] == [0.5, 0.75, 0.25, 0.5]
    assert [row["best/val_knn_top1"] for row in logged] == [0.5, 0.75, 0.75, 0.75]
    assert "best/val_other" not in logged[0]


def test_without_scores_in_between_nothing_is_scored() -> None:
    def score() -> dict[str, float]:
        raise AssertionError("asked for a score")

    trainer: Any = SimpleNamespace(current_epoch=0, max_epochs=100)
    Validate(score, 0).on_train_epoch_end(trainer, None)


def test_what_stopped_a_training_is_kept_with_what_watched_it() -> None:
    asked: list[tuple[float, int]] = []

    def report(score: float, epoch: int) -> bool:
        asked.append((score, epoch))
        return epoch == 2

    watched = Validate(lambda: {"val/knn_top1": 0.5}, 1, report)
    for epoch, stopped in ((0, None), (1, (2, 0.5))):
        held = {"current_epoch": epoch, "max_epochs": 9, "global_step": epoch + 1}
        trainer: Any = SimpleNamespace(**held, should_stop=False, loggers=[])
        watched.on_train_epoch_end(trainer, None)
        assert (watched.stopped, trainer.should_stop) == (stopped, stopped is not None)
    assert asked == [(0.5, 1), (0.5, 2)]
