"""Tables as text."""

from __future__ import annotations

import random

import pytest
import rich.console

from hyperspec.report.tables import Grid, _rich_text, to_text


@pytest.mark.parametrize("in_notebook", [False, True])
def test_a_table_is_text_in_a_notebook_too(
    in_notebook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: in_notebook)
    text = to_text(Grid("Ranked", ("strategy", "bands"), (("uniform", "10"),), 1))
    assert [line.split() for line in text.splitlines() if "uniform" in line] == [["uniform", "10"]]


WORDS = (
    "",
    "-",
    "0.984",
    "0.98 [0.95, 1.00]",
    "uniform",
    "[bold]",
    "two  spaces",
    "Größe",
    "x" * 90,
)


@pytest.mark.parametrize("num_rows", [0, 1, 2, 30])
def test_rows_stand_where_rich_puts_them(num_rows: int) -> None:
    draw = random.Random(num_rows)
    for _ in range(20):
        columns = draw.sample(["#", "strategy", "bands", "test\nk-NN [95%]", "a long head"], 4)
        rows = [tuple(draw.choices(WORDS, k=4)) for _ in range(num_rows)]
        grid = Grid("Ranked by x", tuple(columns), tuple(rows), draw.randint(0, 4))
        assert to_text(grid) == _rich_text(grid)
