"""Tables as text."""

from __future__ import annotations

import pytest
import rich.console

from hyperspec.report.tables import Grid, to_text


@pytest.mark.parametrize("in_notebook", [False, True])
def test_a_table_is_text_in_a_notebook_too(
    in_notebook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: in_notebook)
    text = to_text(Grid("Ranked", ("strategy", "bands"), (("uniform", "10"),), 1))
    assert [line.split() for line in text.splitlines() if "uniform" in line] == [["uniform", "10"]]
