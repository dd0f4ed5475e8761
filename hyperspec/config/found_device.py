"""What ``hardware=auto`` takes: the device that this machine has, and the precision that suits it.

``conf/hardware/auto.yaml`` asks for each key by ``${found_device:KEY}`` when a job's config becomes
objects: from then on the config says what is computed on, so that a job on the CPU is the same job
whether ``auto`` or ``hardware=cpu`` led to it.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from omegaconf import OmegaConf

from hyperspec.utils.errors import ConfigError

RESOLVER = "found_device"
VARIABLE = "HYPERSPEC_DEVICE"  # `cpu` keeps hardware=auto from the GPU, for all commands of a shell
# CUDA, CUDA under WSL, CUDA on Jetson boards, ROCm: without any of them no driver is loaded.
_DRIVERS = ("nvidia[0-9]*", "nvidiactl", "dxg", "nvmap", "kfd")
_BF16_SINCE = 8  # compute capability from which NVIDIA's cards multiply bfloat16
_CPU: Mapping[str, object] = {
    "accelerator": "cpu",
    "precision": "32-true",
    "read_threads": 2,
    "pin_memory": False,
    "prefetch_factor": None,
    "plan": False,
}
# As in conf/hardware/gpu.yaml, but for the precision.
_CUDA: Mapping[str, object] = {
    "accelerator": "gpu",
    "precision": "bf16-mixed",
    "read_threads": 4,
    "pin_memory": True,
    "prefetch_factor": 2,
    "plan": True,
}


@dataclass(frozen=True)
class FoundDevice:
    """The settings of ``hardware`` that a machine suggests, and the line that says so."""

    settings: Mapping[str, object]
    line: str


@cache
def found_device() -> FoundDevice:
    """Return what this machine computes on; torch is imported only where a GPU may be.

    Raises:
        ConfigError: If ``HYPERSPEC_DEVICE`` is neither empty nor ``cpu``.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "cpu"):
        raise ConfigError(f"{VARIABLE} is {asked!r}; it may be cpu. A GPU is found without it.")
    reason = f"{VARIABLE}=cpu" if asked else _why_no_gpu()
    if reason is None:
        import torch

        if torch.cuda.is_available():
            return _on_cuda(torch.cuda.get_device_name(), torch.version.hip is not None)
        if torch.backends.mps.is_available():
            settings = {**_CPU, "accelerator": "gpu"}
            return FoundDevice(settings, "device: this Mac's GPU (MPS), float32; hardware=auto")
        reason = "torch sees no GPU"
    return FoundDevice(_CPU, f"device: CPU, float32; hardware=auto: {reason}")


def register() -> None:
    """Let configs ask for a setting by ``${found_device:KEY}``; doing it again changes nothing."""
    OmegaConf.register_resolver(RESOLVER, _setting, replace=True)


def is_asked(text: object) -> bool:
    """Say whether a value, not resolved, is one that the machine decides."""
    return isinstance(text, str) and text.startswith(f"${{{RESOLVER}:")


def _setting(key: str) -> object:
    return found_device().settings[key]


def _on_cuda(name: str, rocm: bool) -> FoundDevice:
    import torch

    suits = rocm or torch.cuda.get_device_capability()[0] >= _BF16_SINCE
    settings = _CUDA if suits else {**_CUDA, "precision": "32-true"}
    kind, precision = ("ROCm" if rocm else "CUDA"), ("bfloat16" if suits else "float32")
    return FoundDevice(settings, f"device: {name} ({kind}), {precision}; hardware=auto")


def _why_no_gpu() -> str | None:
    """Return why there can be no GPU, without torch's import; None where torch has to be asked."""
    if sys.platform == "darwin":
        return None if platform.machine() == "arm64" else "this Mac has no GPU that torch can use"
    spec = importlib.util.find_spec("torch")
    built = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    text = built.read_text(encoding="utf-8") if built and built.is_file() else "cuda = 'unknown'"
    if re.search(r"^(cuda|hip)\b[^=]*= '", text, re.MULTILINE) is None:
        return "torch is built without GPU support"
    drivers = [one for name in _DRIVERS for one in Path("/dev").glob(name)]
    if sys.platform == "linux" and not drivers:
        return "no driver of a GPU is loaded"
    return None
