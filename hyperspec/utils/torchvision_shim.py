"""Let torchvision's CUDA build be imported beside a CPU build of torch.

The registry has no CPU build of torchvision. Its CUDA build cannot load its native library beside
a CPU torch, and its import then dies with ``RuntimeError: operator torchvision::nms does not
exist``, because Python code registers fake kernels for operators that the library would have
declared. Lightning and torchmetrics import torchvision and die with it. Declaring the two
operators (never running them) is enough for models and transforms.

The declaration waits until ``torchvision.extension`` has been executed: that module tries the
native library, so only afterwards is it known whether the operators are there, and declaring them
earlier would make a good native library fail. Hence an import hook, which also keeps torch out of
``import hyperspec``.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.library import Library

WATCHED = "torchvision.extension"
SCHEMAS = {
    name: f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms")
}

_kept: list[Library] = []  # a Library withdraws its declarations when it is collected


def declare_missing_operators() -> tuple[str, ...]:
    """Declare torchvision's missing operators if torch is a CPU build.

    Returns:
        Names of the operators that were declared now; empty if nothing was missing, or if torch
        has a CUDA or ROCm build (there a missing operator is a broken installation, which
        torchvision's own error should tell).
    """
    import torch

    if torch.version.cuda is not None or torch.version.hip is not None:
        return ()
    missing = tuple(name for name in SCHEMAS if not hasattr(torch.ops.torchvision, name))
    if missing:
        # A fragment, since another declaration may own the namespace already.
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in missing:
            library.define(SCHEMAS[name])  # type: ignore[no-untyped-call]
        _kept.append(library)
    return missing


class TorchvisionFinder(importlib.abc.MetaPathFinder):
    """Finds ``torchvision.extension`` as the other finders do, and acts after its execution."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the module's own spec with the declaration after it; None for other modules."""
        if fullname != WATCHED:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                _declare_after(spec)
                return spec
        return None


def _declare_after(spec: importlib.machinery.ModuleSpec) -> None:
    """Make the spec's loader declare the operators once it has executed the module."""
    loader = spec.loader
    if loader is None or not hasattr(loader, "exec_module"):
        return
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        declare_missing_operators()

    # On the instance: the module keeps its own loader, so reading its source works as before.
    loader.exec_module = exec_module  # type: ignore[method-assign]


def install() -> None:
    """Install the hook once; if torchvision is imported already there is nothing left to do."""
    if not any(isinstance(finder, TorchvisionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchvisionFinder())
