"""The documentation site is built without a warning, and without the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
needs_mkdocs = pytest.mark.skipif(
    find_spec("material") is None, reason="the extra `docs` is not installed"
)


@needs_mkdocs
def test_the_site_is_built(tmp_path: Path) -> None:
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    # Addresses that nothing answers: what would be fetched is an error.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    env = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page.relative_to(tmp_path).as_posix() for page in tmp_path.rglob("*.html")}
    assert {"index.html", "options.html", "notebooks/bands.html", "search.html"} <= pages
    for page in pages:
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert not re.findall(r'(?:src="|<link[^>]*href=")https?://[^"]*"', text), page


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    names = [page.relative_to(ROOT / "docs").as_posix() for page in pages]
    assert [name for name in names if f": {name}\n" not in text] == []


def test_pages_that_the_source_names_are_there() -> None:
    named: set[str] = set()
    for folder, pattern in (("hyperspec", "*.py"), ("conf", "*.yaml"), ("benchmarks", "*.py")):
        for file in (ROOT / folder).rglob(pattern):
            named |= set(re.findall(r"\bdocs/[\w/]+\.md\b", file.read_text(encoding="utf-8")))
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
