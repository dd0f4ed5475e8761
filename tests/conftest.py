"""Fixtures for every room."""

from __future__ import annotations

from pathlib import Path

import pytest

import hyperspec  # noqa: F401 - before any test imports what imports torchvision


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real public cubes that may lie beside the checkout."""
    folder = (Path(__file__).resolve().parents[1] / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"the real public cubes are not at {folder}")
    return folder
