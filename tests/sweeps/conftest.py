from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hyperspec.tracking.client import open_client


@pytest.fixture
def folder(sweep_uri: str, tmp_path: Path) -> Path:
    """A working folder with a store that has its tables already."""
    (tmp_path / "store").mkdir()
    open_client(sweep_uri, create=True).search_experiments()
    shutil.copy(sweep_uri.removeprefix("sqlite:///"), tmp_path / "store" / "mlflow.db")
    return tmp_path
