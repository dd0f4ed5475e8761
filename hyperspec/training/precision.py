"""Mixed precision in which gradients are unscaled before anything looks at them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision as LightningMixedPrecision
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.utilities import GradClipAlgorithmType
from torch.optim import Optimizer

log = logging.getLogger(__name__)

_MIXED: dict[str, Literal["16-mixed", "bf16-mixed"]] = {
    "16-mixed": "16-mixed",
    "16": "16-mixed",
    "bf16-mixed": "bf16-mixed",
    "bf16": "bf16-mixed",
}
# As torch.cpu.get_capabilities names them. Without any oneDNN converts in software.
_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


class MixedPrecision(LightningMixedPrecision):
    """Autocast, and a loss scale in 16 bit, also with fused optimizers.

    A fused optimizer can take the loss scale out of the gradients itself. Lightning leaves it to
    it, so that gradients would be logged with the scale in them, and refuses to clip them. torch's
    scaler serves a fused optimizer whose gradients were unscaled before as well, and still without
    a look at the GPU. (Its checkpoints carry this class's name, which is Lightning's.)
    """

    def optimizer_step(  # type: ignore[override]  # as in Lightning's own
        self,
        optimizer: Optimizer,
        model: pl.LightningModule,
        closure: Callable[[], Any],
        **kwargs: Any,
    ) -> Any:
        """Step with gradients that were unscaled, then looked at and clipped."""
        if self.scaler is None:  # bfloat16 has float32's range
            return super().optimizer_step(optimizer, model=model, closure=closure, **kwargs)
        result = closure()
        if result is None:  # the backward pass was skipped
            return None
        self.scaler.unscale_(optimizer)
        self._after_closure(model, optimizer)
        stepped = self.scaler.step(optimizer, **kwargs)
        self.scaler.update()
        return stepped

    def clip_gradients(
        self,
        optimizer: Optimizer,
        clip_val: int | float = 0.0,
        gradient_clip_algorithm: GradClipAlgorithmType = GradClipAlgorithmType.NORM,
    ) -> None:
        """Clip gradients, which :meth:`optimizer_step` has unscaled."""
        Precision.clip_gradients(self, optimizer, clip_val, gradient_clip_algorithm)


def precision_words(name: str, device: torch.device) -> tuple[dict[str, Any], list[Precision]]:
    """Return what a trainer is given for a precision: words, and plug-ins.

    Args:
        name: ``hardware.precision``; what is not mixed is left to Lightning, names that it does not
            know as well.
        device: Kind of device that the run computes on.
    """
    mixed = _MIXED.get(name)
    if mixed == "16-mixed" and device.type == "cpu":
        log.warning("hardware.precision=%s needs a GPU; on the CPU it is bf16-mixed", name)
        mixed = "bf16-mixed"
    if device.type == "cpu" and name in ("32-true", *_MIXED):
        _tell_bf16(name if mixed else None)
    if mixed is None:
        return {"precision": name}, []
    return {}, [MixedPrecision(mixed, device.type)]


def cpu_has_bf16() -> bool:
    """Say whether the processor multiplies bfloat16 itself (AVX-512 BF16, AMX, ARM's BF16)."""
    return any(torch.cpu.get_capabilities().get(name) for name in _BF16_INSTRUCTIONS)


@cache  # once in a process: a sweep's jobs need not repeat it
def _tell_bf16(mixed: str | None) -> None:
    """Warn where bfloat16 is emulated; without mixed precision (None) say where it would pay."""
    if mixed is not None and not cpu_has_bf16():
        log.warning(
            "hardware.precision=%s, but this processor (%s) has no bfloat16 instructions: "
            "convolutions took 13 times as long as in float32 on such a one (docs/hardware.md); "
            "use hardware.precision=32-true",
            mixed,
            torch.cpu.get_capabilities().get("cpu_name", "unknown"),
        )
    elif mixed is None and cpu_has_bf16():
        log.info(
            "this processor multiplies bfloat16 itself: hardware.precision=bf16-mixed took 0.6 to "
            "0.8 of the time of a step on one (docs/speed.md)"
        )
