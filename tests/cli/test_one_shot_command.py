"""``hyperspec one-shot`` on two sweeps that were logged without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hyperspec.cli.main import main
from hyperspec.tracking.client import Connection, connect
from hyperspec.tracking.contract import Artifact, Tag
from hyperspec.tracking.run import start_run

COUNTS, SEEDS, ROWS = (3, 6, 24), (0, 1), 40


def said(rate: float, seed: int) -> pd.DataFrame:
    right = (np.random.default_rng(seed).random(ROWS) < rate).astype(int)
    files = [f"f{i}.bil" for i in range(ROWS)]
    specimens = [f"s{i // 2}" for i in range(ROWS)]
    return pd.DataFrame({"file": files, "specimen": specimens, "label": "a", "knn_correct": right})


def sweep(
    connection: Connection, tables: dict[tuple[str, int, int], pd.DataFrame], rotations: int = 1
) -> str:
    """Log a sweep whose jobs said what is given by (strategy, n, seed); one-shot when n is 0.

    With several rotations each of them tested its share of the specimens.
    """
    parent = start_run(connection, "sweep", kind="sweep")
    for (strategy, n, seed), table in tables.items():
        tags = {Tag.STRATEGY: strategy, Tag.NUM_BANDS: str(n or 24)}
        part = table["specimen"].str[1:].astype(int) % rotations
        for turn in range(rotations):
            params = {"seed": str(seed)}
            params |= {"data.split.rotation": str(turn)} if rotations > 1 else {}
            job = start_run(
                connection, "job", parent_run_id=parent.run_id, tags=tags, params=params
            )
            artifact = Artifact.PREDICTIONS if n else Artifact.CURVE_PREDICTIONS
            job.log_text(table[part == turn].to_csv(index=False), artifact)
            job.finish()
    parent.finish()
    return parent.run_id


def test_two_sweeps_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    connection = connect(uri, "one-shot")
    alone = {
        ("uniform", n, seed): said(rate, 10 * n + seed)
        for n, rate in zip(COUNTS, (0.2, 0.5, 0.9), strict=True)
        for seed in SEEDS
    }
    once = {
        ("full", 0, seed): pd.concat(
            # Another order of rows: they are joined by file.
            said(rate, 1000 * n + seed).iloc[::-1].assign(strategy="uniform", n=n)
            for n, rate in zip(COUNTS, (0.1, 0.4, 0.8), strict=True)
        )
        for seed in SEEDS
    }
    ids = [sweep(connection, tables) for tables in (once, alone)]
    out = tmp_path / "table.md"
    words = ["one-shot", "--curve", ids[0], "--retrained", ids[1], "--uri", uri]
    assert main([*words, "--out", str(out), "--resamples", "200"]) == 0
    shown = capsys.readouterr().out
    assert out.read_text() in shown
    lines = [line.split("|") for line in shown.splitlines() if line.startswith("| uniform")]
    assert [line[2].strip() for line in lines] == ["3", "6", "24"]
    for line, n in zip(lines, COUNTS, strict=True):
        mean = np.mean([alone["uniform", n, seed]["knn_correct"].mean() for seed in SEEDS])
        assert float(line[4]) == pytest.approx(mean, abs=6e-4)
        tables = [once["full", 0, seed] for seed in SEEDS]
        mean = np.mean([table[table["n"] == n]["knn_correct"].mean() for table in tables])
        assert float(line[3]) == pytest.approx(mean, abs=6e-4)
    assert "over 3 points: 1.00" in shown
    assert "2 seeds, 20 test specimens" in shown
    rotated = [sweep(connection, tables, rotations=4) for tables in (once, alone)]
    again = ["one-shot", "--curve", rotated[0], "--retrained", rotated[1], "--uri", uri]
    assert main([*again, "--resamples", "200"]) == 0
    assert capsys.readouterr().out.splitlines()[2:5] == shown.splitlines()[2:5]
    assert main(["one-shot", "--curve", ids[1], "--retrained", ids[1], "--uri", uri]) == 2
    assert "The sweeps share 0 sets of bands" in capsys.readouterr().err
