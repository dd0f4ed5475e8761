"""Which device a run computes on, and how many."""

from __future__ import annotations

import torch

from hyperspec.config.hardware import Hardware
from hyperspec.utils.errors import ConfigError


def count_devices(hardware: Hardware) -> int:
    """Return how many devices a run trains on.

    Raises:
        ConfigError: If it asks for more GPUs than there are.
    """
    wanted = int(hardware.devices)
    if choose_device(hardware).type == "cpu":
        return max(wanted, 1)
    there = torch.cuda.device_count()
    if wanted > there:
        raise ConfigError(
            f"hardware.devices is {wanted}, but torch sees {there} GPU(s). Lower it, or take all."
        )
    return there if wanted == -1 else wanted


def choose_device(hardware: Hardware) -> torch.device:
    """Return the device that a run computes on.

    Raises:
        ConfigError: If a GPU is asked for and there is none.
    """
    if hardware.accelerator == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if hardware.accelerator == "gpu":
        raise ConfigError(
            "hardware.accelerator is gpu, but torch sees no CUDA device. Choose hardware=cpu, or "
            "install a torch build for this GPU."
        )
    return torch.device("cpu")
