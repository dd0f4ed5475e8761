"""What the hash of the source sees of an edit, and when the source counts at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from hyperspec.utils import source_tree
from hyperspec.utils.source_tree import (
    NOT_COMPUTING,
    changed_source,
    files_hash,
    is_release,
    tree_hash,
)

Write = Callable[[str, str], str]
MODULE = '''"""A loss."""

import torch
from hyperspec.losses.base import check


class Loss:
    """What it is."""

    weight: float = 1.0
    """What it weighs."""

    def forward(self, x, y=None):
        """Return it."""
        from hyperspec.utils.distributed import whole

        return torch.exp(x) * self.weight  # why


LIMIT = 3
'''


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes a module into a package and returns the package's hash."""

    def written(name: str, text: str) -> str:
        path = tmp_path / "hyperspec" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        tree_hash.cache_clear()
        return tree_hash(tmp_path / "hyperspec")

    return written


def test_docstrings_comments_places_and_own_imports_do_not_count(
    write: Write, tmp_path: Path
) -> None:
    first = write("losses/nt_xent.py", MODULE)
    edited = MODULE.replace('"""What it is."""', '"""It is\n    more."""').replace("# why", "# so")
    edited = edited.replace("hyperspec.losses", "hyperspec.utils").replace(
        "(self, x,", "(self,  x,"
    )
    assert edited != MODULE
    assert write("losses/nt_xent.py", edited) == first
    (tmp_path / "hyperspec/losses/nt_xent.py").rename(tmp_path / "hyperspec/losses/other.py")
    assert write("losses/__init__.py", '__all__ = ["Loss"]') == first
    head, tail = edited.split("\n\n\nLIMIT")
    write("losses/other.py", head)
    assert write("utils/limits.py", f"LIMIT{tail}") == first, "a definition moved to another file"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("weight: float = 1.0", "weight: float = 2.0"),
        ("torch.exp(x)", "torch.exp(-x)"),
        ("y=None", "y=1"),
        ("import torch", "import jax as torch"),
        ("import check", "import other as check"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", "LIMIT = None"),
        ("return torch", "pass\n        return torch"),
    ],
)
def test_what_is_computed_counts(write: Write, before: str, after: str) -> None:
    first = write("losses/nt_xent.py", MODULE)
    assert before in MODULE
    assert write("losses/nt_xent.py", MODULE.replace(before, after)) != first
    assert write("losses/nt_xent.py", MODULE) == first


def test_rooms_that_compute_nothing_do_not_count(write: Write) -> None:
    first = write("losses/nt_xent.py", MODULE)
    assert write("sweeps/report.py", "b = 1") == first
    assert write("config/compose.py", "c = 1") == first
    assert write("utils/results_version.py", "RESULTS = {}") == first
    assert write("losses/dcl.py", "pass") != first


def test_every_name_that_does_not_count_is_of_a_room_of_old_or_new() -> None:
    assert len(NOT_COMPUTING) == len(set(NOT_COMPUTING))
    assert not {"losses", "training", "models", "data", "working", "pipeline"} & set(NOT_COMPUTING)


def test_any_edit_of_a_computing_module_is_looked_at(write: Write, tmp_path: Path) -> None:
    package = tmp_path / "hyperspec"
    write("losses/nt_xent.py", MODULE)
    first = files_hash(package)
    write("cli/main.py", "PRINTED = 1\n")
    assert files_hash(package) == first
    write("losses/nt_xent.py", MODULE.replace("# why", "# so"))
    assert files_hash(package) != first


def test_source_counts_only_where_it_differs_from_the_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_tree, "is_release", lambda: False)
    monkeypatch.setattr(source_tree, "tree_hash", lambda: "beef")
    monkeypatch.setattr(source_tree, "SOURCE_FILES", source_tree.files_hash())
    changed_source.cache_clear()
    assert changed_source() == ""  # byte for byte the known one
    monkeypatch.setattr(source_tree, "SOURCE_FILES", "")
    for known, counted in (("", "beef"), ("feed", "beef"), ("beef", "")):
        monkeypatch.setattr(source_tree, "SOURCE_TREE", known)
        changed_source.cache_clear()
        assert changed_source() == counted
    monkeypatch.setattr(source_tree, "is_release", lambda: True)
    monkeypatch.setattr(source_tree, "SOURCE_TREE", "")
    changed_source.cache_clear()
    assert changed_source() == ""
    changed_source.cache_clear()


@pytest.mark.parametrize(
    ("origin", "released"),
    [
        (None, True),
        ({"url": "file:///w.whl", "archive_info": {}}, True),
        ({"url": "file:///folder", "dir_info": {}}, False),
        ({"url": "file:///folder", "dir_info": {"editable": True}}, False),
        ({"url": "https://host/repo", "vcs_info": {"vcs": "git"}}, False),
    ],
)
def test_a_release_is_an_index_or_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: object, released: bool
) -> None:
    info = tmp_path / "hyperspec_sweeps-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hyperspec-sweeps\nVersion: 1\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    found = [Distribution.at(info)]
    monkeypatch.setattr(source_tree, "distributions", lambda name: found)
    assert is_release((tmp_path / "hyperspec").resolve()) is released
    assert not is_release(tmp_path / "elsewhere" / "hyperspec"), "another copy than that which runs"
