"""Mixed precision with a fused optimizer: gradients are seen and clipped without the scale."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hyperspec.training import precision
from hyperspec.training.optimizer import Optimisation, build_optimizer
from hyperspec.training.precision import MixedPrecision, precision_words

CPU = torch.device("cpu")
SLOPE = 3.0


class Line(pl.LightningModule):
    """One weight whose gradient is known: the loss is three times the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 1))
        self.seen: list[float] = []
        self.after: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (SLOPE * self.weight).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.named_parameters(), Optimisation(1e-3))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        assert self.weight.grad is not None
        self.seen.append(float(self.weight.grad))

    def configure_gradient_clipping(self, *args: Any, **words: Any) -> None:
        super().configure_gradient_clipping(*args, **words)
        assert self.weight.grad is not None
        self.after.append(float(self.weight.grad))


def fitted(plugin: pl.plugins.precision.Precision, clip: float | None) -> Line:
    module = Line()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=2,
        plugins=[plugin],
        gradient_clip_val=clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.zeros(4, 1)))
    return module


@pytest.mark.filterwarnings("ignore")  # of Lightning's, on data of two rows
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("name", ["bf16-mixed", "16-mixed"])
def test_gradients_are_seen_and_clipped_without_the_loss_scale(
    name: str, clip: float | None
) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    plugin = MixedPrecision(name, "cpu", scaler if name == "16-mixed" else None)  # type: ignore[arg-type]
    module = fitted(plugin, clip)
    assert module.seen == pytest.approx([SLOPE, SLOPE])
    assert module.after == pytest.approx([clip or SLOPE] * 2)
    # AdamW's first step is the learning rate whatever the gradient: none was skipped.
    assert float(module.weight) == pytest.approx(1 - 2e-3, abs=2e-4)


@pytest.mark.filterwarnings("ignore")
def test_the_one_step_whose_gradients_overflow_is_left_out() -> None:
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2e38))
    module = fitted(plugin, 1.0)
    assert plugin.scaler is not None
    assert plugin.scaler.get_scale() < 2e38
    # The other step is AdamW's: the learning rate whatever the gradient.
    assert float(module.weight) == pytest.approx(1 - 1e-3, abs=1e-4)


def test_which_precisions_are_ours() -> None:
    words, plugins = precision_words("32-true", CPU)
    assert (words, plugins) == ({"precision": "32-true"}, [])
    for name in ("bf16-mixed", "bf16", "16-mixed"):
        words, (plugin,) = precision_words(name, CPU)
        assert words == {}
        # A checkpoint finds the scaler by this name, also one that Lightning's class wrote.
        assert type(plugin).__qualname__ == "MixedPrecision"
        assert plugin.precision == "bf16-mixed"  # no 16 bit on the CPU
        assert plugin.scaler is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["bf16-mixed", "bf16", "16-mixed", "32-true"])
@pytest.mark.parametrize("instructions", [{}, {"avx512_bf16": True}, {"bf16": True}])
def test_a_processor_without_bfloat16_is_told_and_one_with_it_too(
    name: str,
    instructions: dict[str, bool],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = MappingProxyType({"cpu_name": "Old One", "avx512_bf16": False, **instructions})
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    precision._tell_bf16.cache_clear()
    with caplog.at_level(logging.INFO, precision.__name__):
        precision_words(name, CPU)
        first = caplog.text
        precision_words(name, CPU)
    assert ("(Old One) has no bfloat16" in first) == (name != "32-true" and not instructions)
    assert ("precision=32-true" in first) == (name != "32-true" and not instructions)
    assert ("precision=bf16-mixed took" in first) == (name == "32-true" and bool(instructions))
    assert caplog.text.count("bfloat16") <= 1  # a sweep's next job does not say it again
    caplog.clear()
    precision_words("bf16-mixed", torch.device("cuda"))
    assert not caplog.records
    precision._tell_bf16.cache_clear()
