"""Which device a run computes on, and how many: asked here by all, Lightning is told."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch

from hyperspec.config.found_device import VARIABLE
from hyperspec.config.hardware import Hardware
from hyperspec.utils.errors import ConfigError

log = logging.getLogger(__name__)

TESTED_ON: tuple[str, ...] = ()
"""Cards of which `make check-gpu` left a record in benchmarks/results."""


def device_kind(hardware: Hardware) -> str:
    """Return ``cpu``, ``cuda`` or ``mps``: what a config asks for, also where it is missing.

    ``auto`` takes what there is: CUDA, then MPS (the GPU of a Mac), then the CPU; the CPU at once
    with ``HYPERSPEC_DEVICE=cpu``. ``gpu`` is CUDA, or MPS where that is there.
    """
    spared = hardware.accelerator == "auto" and os.environ.get(VARIABLE) == "cpu"
    if hardware.accelerator == "cpu" or spared:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cuda" if hardware.accelerator == "gpu" else "cpu"


def is_there(kind: str) -> bool:
    """Say whether this machine has a kind of device."""
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or torch.backends.mps.is_available()


def count_devices(hardware: Hardware) -> int:
    """Return how many devices a run trains on.

    Raises:
        ConfigError: If it asks for more GPUs than there are.
    """
    wanted, kind = int(hardware.devices), _checked(hardware)
    if kind == "cpu":
        return max(wanted, 1)
    there = torch.cuda.device_count() if kind == "cuda" else 1
    if wanted > there:
        raise ConfigError(
            f"hardware.devices is {wanted}, but torch sees {there} GPU(s). Lower it, or take all."
        )
    return there if wanted == -1 else wanted


def choose_device(hardware: Hardware) -> torch.device:
    """Return the device that a run computes on.

    What is float32 stays float32 on it: by default torch lets convolutions on newer GPUs round
    their inputs to TF32's 10 bits, also with ``hardware.precision=32-true`` and in fixed
    projections.

    Raises:
        ConfigError: If a GPU is asked for and there is none.
    """
    kind = _checked(hardware)
    if kind != "cpu":
        _say_untested()
    if kind != "cuda":
        return torch.device(kind)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(kind, torch.cuda.current_device())


@cache
def _say_untested() -> None:
    """Log once that no card has been seen, as long as that is so."""
    if not TESTED_ON:
        log.warning(
            "Training on a GPU is untested on hardware so far: hold the first results against "
            "hardware=cpu, or run `make check-gpu`. hardware=multi_gpu and gpu_shared are "
            "experimental."
        )


def _checked(hardware: Hardware) -> str:
    kind = device_kind(hardware)
    if not is_there(kind):
        raise ConfigError(
            "hardware.accelerator is gpu, but torch sees no CUDA device. Choose hardware=cpu, or "
            "install a torch build for this GPU."
        )
    return kind


def lightning_devices(device: torch.device, processes: int) -> dict[str, Any]:
    """Return what Lightning's trainer is told, so that it takes the device that was chosen."""
    one_gpu = device.type == "cuda" and processes == 1
    return {"accelerator": device.type, "devices": [device.index or 0] if one_gpu else processes}


def random_states_kept(device: torch.device) -> AbstractContextManager[None]:
    """Leave the random states of the CPU and of one device as they were.

    ``fork_rng`` without devices copies those of every GPU of the machine, also of cards that are
    somebody else's.
    """
    devices = [device.index or 0] if device.type == "cuda" else []
    kept: AbstractContextManager[None] = torch.random.fork_rng(devices=devices)
    return kept
