"""Which bands, and how many, carry the signal: SimCLR sweeps over hyperspectral specimens."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from hyperspec.utils.torchvision_shim import install as _install_torchvision_hook
from hyperspec.utils.version import __version__ as __version__

if TYPE_CHECKING:
    from hyperspec import bands as bands
    from hyperspec import cubes as cubes
    from hyperspec import datasets as datasets
    from hyperspec import evaluation as evaluation
    from hyperspec import losses as losses
    from hyperspec import models as models
    from hyperspec import spectra as spectra
    from hyperspec import testing as testing
    from hyperspec import training as training
    from hyperspec import transforms as transforms
    from hyperspec.cli.functions import load as load
    from hyperspec.cli.functions import sweep as sweep
    from hyperspec.cli.functions import train as train
    from hyperspec.cli.specimen_folder import catalogue as catalogue
    from hyperspec.cubes.open import open_cube as open  # noqa: A004  # reads as hyperspec.open
    from hyperspec.report.job_tables import results as results
__all__ = [
    "bands",
    "catalogue",
    "cubes",
    "datasets",
    "evaluation",
    "load",
    "losses",
    "models",
    "open",
    "results",
    "spectra",
    "sweep",
    "testing",
    "train",
    "training",
    "transforms",
]

_FUNCTIONS = {
    "catalogue": ("cli.specimen_folder", "catalogue"),
    "load": ("cli.functions", "load"),
    "open": ("cubes.open", "open_cube"),
    "results": ("report.job_tables", "results"),
    "sweep": ("cli.functions", "sweep"),
    "train": ("cli.functions", "train"),
}

_install_torchvision_hook()
if sys.platform == "darwin":
    # Operations that a Mac's GPU lacks (qr, eigh, svdvals) go to its CPU; torch reads this once.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")


def __getattr__(name: str) -> object:
    """Import a room on first use, so that ``import hyperspec`` stays light."""
    if name in _FUNCTIONS:
        module, function = _FUNCTIONS[name]
        return getattr(importlib.import_module(f"hyperspec.{module}"), function)
    if name in __all__:
        return importlib.import_module(f"hyperspec.{name}")
    raise AttributeError(f"module 'hyperspec' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what is meant for users."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
