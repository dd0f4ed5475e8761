"""The picture and the page of the rooms are as the imports are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_architecture", DOCS / "make_architecture.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_of_todays_imports(script: ModuleType) -> None:
    drawn = (DOCS / "architecture.svg").read_text()
    assert drawn == script.draw(), "run: python docs/make_architecture.py"


def test_the_page_has_the_sentence_of_every_room(script: ModuleType) -> None:
    page = (DOCS / "architecture.md").read_text()
    assert [r for r in script.rooms() if f"| `{r}` | {script.sentence(r)} |" not in page] == []
