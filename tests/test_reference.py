"""The pages of the reference are those of today's schema, parsers and docstrings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import hyperspec
from hyperspec.config import groups
from hyperspec.config.option_list import list_options

ROOT = Path(__file__).parents[1]


def test_the_pages_are_of_today() -> None:
    # A process of its own: other tests register options.
    script = ROOT / "docs/make_reference.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_option_has_a_word_on_some_page() -> None:
    groups.register()
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    own = [one for one in list_options() if "=" not in one.choice or _is_ours(one.choice)]
    assert len(own) > 200
    assert [one.key for one in own if f"`{one.key}`" not in text] == []
    assert [f"{one.key} ({one.choice})" for one in own if not one.meaning] == []


def _is_ours(choice: str) -> bool:
    group, _, name = choice.partition("=")
    return groups.OPTIONS[group][name].__module__.startswith("hyperspec.")


def test_every_public_name_has_a_word_on_the_page_of_python() -> None:
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    names = {name for name in hyperspec.__all__ if f"{name}`" not in page and name != "bands"}
    assert names == set()
    functions = ("train", "sweep", "load", "results", "open", "catalogue")
    assert [name for name in functions if f"## `hyperspec.{name}`" not in page] == []
