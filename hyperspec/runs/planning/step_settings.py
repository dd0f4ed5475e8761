"""What the memory of a step depends on."""

from __future__ import annotations

import torch

from hyperspec.config.hardware import Hardware
from hyperspec.config.schema import Train
from hyperspec.runs.planning.step_memory import Context, StepSettings
from hyperspec.training.devices import count_devices


def settings_of(config: Train, num_images: int) -> StepSettings:
    """Return what a config says of a step; with few specimens all of them are the batch."""
    hardware = config.hardware
    batch = config.batch_size
    if num_images:
        batch = max(min(batch, round(config.data.split.fractions[0] * num_images)), 2)
    devices = count_devices(hardware)
    batch = max(batch // devices, 1)
    micro = hardware.micro_batch
    if hardware.check_micro_batch:  # the first batch is computed whole, too
        micro = None
    return StepSettings(batch, micro, hardware.accumulate, devices)


def step_context(hardware: Hardware) -> Context:
    """Return what Lightning puts around a step at a precision: autocast, or nothing."""
    kind = "cuda" if torch.cuda.is_available() and hardware.accelerator != "cpu" else "cpu"
    name, _, mixed = hardware.precision.partition("-")
    narrow = {"bf16": torch.bfloat16, "16": torch.float16}.get(name)
    if narrow is None or mixed != "mixed":
        return lambda: torch.autocast(kind, enabled=False)
    return lambda: torch.autocast(kind, dtype=narrow)
