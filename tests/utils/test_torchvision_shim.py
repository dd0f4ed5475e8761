import subprocess
import sys
from pathlib import Path

import pytest

import hyperspec
from hyperspec.utils import torchvision_shim as _torchvision_cpu

ROOT = Path(hyperspec.__file__).parents[1]


def in_fresh_process(code: str) -> str:
    """Run code in a new interpreter with the package importable; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {"torch", "torchvision", "numpy", "mlflow", "hydra", "rasterio", "kornia", "pandas"}
    out = in_fresh_process(
        f"import sys, hyperspec; print(sorted({heavy!r} & set(sys.modules)))",
    )
    assert out == "[]"


def test_lightning_and_torchvision_import_after_the_package() -> None:
    out = in_fresh_process(
        "import hyperspec, gc\n"
        "import pytorch_lightning, torchvision.models\n"
        "import torch\n"
        "gc.collect()\n"
        "print(torchvision.models.resnet18().fc.in_features,"
        " hasattr(torch.ops.torchvision, 'nms'), hasattr(torch.ops.torchvision, 'qnms'))\n"
        "import inspect; print('_load_library' in inspect.getsource(torchvision.extension))\n"
    )
    assert out.split() == ["512", "True", "True", "True"]


def test_declares_only_what_is_missing() -> None:
    import torch
    import torchvision  # noqa: F401

    assert hasattr(torch.ops.torchvision, "nms")
    assert _torchvision_cpu.declare_missing_operators() == ()


def test_leaves_a_torch_with_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(_torchvision_cpu, "SCHEMAS", {"absent_op": "absent_op(Tensor x) -> Tensor"})
    assert _torchvision_cpu.declare_missing_operators() == ()
    assert not hasattr(torch.ops.torchvision, "absent_op")


def test_the_hook_is_installed_once() -> None:
    _torchvision_cpu.install()
    finders = [f for f in sys.meta_path if isinstance(f, _torchvision_cpu.TorchvisionFinder)]
    assert len(finders) == 1
    assert finders[0].find_spec("torchvision.models", None) is None


def test_rooms_are_attributes() -> None:
    assert hyperspec.spectra.__name__ == "hyperspec.spectra"
    assert {"open", "bands", "cubes", "__version__"} <= set(dir(hyperspec))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        hyperspec.nonsense  # noqa: B018
