"""The notebooks of docs/ run, cell by cell, and keep what they showed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells(notebook, "code")):
        text = "".join(cell["source"])
        exec(compile(text, f"{notebook.name}, cell {number}", "exec"), known)
    plt.close("all")


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["bands", "embeddings", "study"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_the_cells_showed_is_kept(notebook: Path) -> None:
    shown = [output for cell in cells(notebook, "code") for output in cell["outputs"]]
    assert not [output for output in shown if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in shown)
    text = notebook.read_text(encoding="utf-8")
    assert len(text) < 500_000
    assert "/tmp/" not in text
    assert "/home/" not in text
