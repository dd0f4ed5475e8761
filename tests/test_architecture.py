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


def test_rooms_in_a_circle_have_no_order(script: ModuleType) -> None:
    assert script.in_order({"b": {"a"}, "a": set(), "c": {"b"}}) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="import each other"):
        script.in_order({"a": {"b"}, "b": {"a"}})


def test_the_page_has_the_sentence_of_every_room(script: ModuleType) -> None:
    page = (DOCS / "architecture.md").read_text()
    rooms = script.in_order(script.imported_rooms())
    assert [r for r in rooms if f"| `{r}` | {script.sentence(r)} |" not in page] == []
