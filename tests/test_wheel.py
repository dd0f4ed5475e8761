"""The built wheel works outside of the checkout: it carries the config and trains."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*words: str | Path, cwd: Path) -> str:
    # PYTHONPATH could lead back into the checkout.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out, ROOT, cwd=ROOT)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bin_dir(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that holds the wheel and sees the dependencies of this one.

    The dependencies are lent by a path file: installing torch anew would take a minute and prove
    nothing about the wheel.
    """
    folder = tmp_path_factory.mktemp("env")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    paths = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    Path(paths.splitlines()[0], "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_holds_every_config_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert f"hyperspec/conf/{path.relative_to(ROOT / 'conf').as_posix()}" in names
    for ending in ("css", "js", "html"):  # of the pages
        for path in (ROOT / "hyperspec").rglob(f"*.{ending}"):
            assert path.relative_to(ROOT).as_posix() in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_demo_training_runs_from_an_empty_folder(bin_dir: Path, tmp_path: Path) -> None:
    code = "import hyperspec; print(hyperspec.__file__)"
    where = run(bin_dir / "python", "-c", code, cwd=tmp_path)
    assert str(bin_dir.parent) in where, "the package under test is the wheel's"
    hyperspec = bin_dir / "hyperspec"
    run(hyperspec, "synth", "specimens", "--specimens", "4", "--size", "16", cwd=tmp_path)
    words = ["experiment=demo", "data.root=specimens", "data.size=16", "epochs=2"]
    shown = run(hyperspec, "train", *words, "-m", "bands.n=10,20", cwd=tmp_path)
    assert "accuracy_against_bands.png" in shown
    assert (tmp_path / "mlflow.db").exists()
