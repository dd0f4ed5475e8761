"""The matrix of encoders and band sets: cells, CSV and picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hyperspec.evaluation.cross_band import cross_table, draw_cross, write_cross
from hyperspec.evaluation.statistics.intervals import mean_interval

SPECIMENS = [f"s{i // 2}" for i in range(20)]


@pytest.fixture
def table():
    random = np.random.default_rng(0)
    scores = {
        ("uniform:10", "uniform:10"): (random.random(20) < 0.8).astype(float),
        ("uniform:10", "uniform:50"): (random.random(20) < 0.5).astype(float),
        ("uniform:50", "uniform:50"): np.r_[np.nan, np.nan, np.ones(18)],
    }
    return scores, cross_table(scores, SPECIMENS)


def test_each_cell_is_the_interval_of_its_scores(table) -> None:
    scores, cells = table
    for cell, values in zip(cells, scores.values(), strict=True):
        expected = mean_interval(values, SPECIMENS)
        assert cell[2:] == (expected.mean, expected.low, expected.high)
    assert cells[2].value == 1.0  # rows without a label do not count


def test_files(table, tmp_path: Path) -> None:
    _, cells = table
    csv, picture = write_cross(cells, tmp_path / "out", "k-NN")
    lines = csv.read_text().splitlines()
    assert lines[0] == "encoder,bands,value,low,high"
    assert lines[1].startswith(f"uniform:10,uniform:10,{cells[0].value:.6g},")
    assert picture.stat().st_size > 5000
    axes = draw_cross(cells, "k-NN").axes[0]
    assert [t.get_text() for t in axes.texts][::2] == [f"{cell.value:.2f}" for cell in cells]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["uniform:10", "uniform:50"]
