"""What ``make release-check`` says of changelog and citation."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CLOSED = "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-12-01)\n\n- A thing.\n"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_check", ROOT / ".ci/release_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("changelog", "citation", "said"),
    [
        (CLOSED, "version: 0.2.0\n", []),
        (CLOSED.replace("0.2.0 (2026-12-01)", "0.2.0"), "version: 0.2.0\n", ["no heading"]),
        (CLOSED.replace("eased\n", "eased\n\n- More.\n"), "version: 0.2.0\n", ["under Unreleased"]),
        (CLOSED, "version: 0.1.0\n", ["CITATION.cff"]),
    ],
)
def test_texts_fit_the_version(
    script: ModuleType, changelog: str, citation: str, said: list[str]
) -> None:
    found = list(script.texts("0.2.0", changelog, citation))
    assert len(found) == len(said)
    assert all(word in problem for word, problem in zip(said, found, strict=True))


def test_the_citation_is_of_the_version(script: ModuleType) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == script.version_of()
    heads = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {citation['version']} ({citation['date-released']})" in heads


@pytest.mark.parametrize("form", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_forms_are_well_formed(form: Path) -> None:
    assert yaml.safe_load(form.read_text(encoding="utf-8"))
