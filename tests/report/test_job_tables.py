"""Results as tables for other programs: pandas, R, a spreadsheet."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_sweeps import NUM_SPECIMENS, FakeSweep
from pandas.testing import assert_frame_equal

import hyperspec
from hyperspec.cli.main import main
from hyperspec.report.job_tables import to_csv, to_json
from hyperspec.tracking.run import start_run
from hyperspec.utils.csv_text import guarded

NASTY = (
    *("=1+1", "+1 band", "-cmd|' /C calc'!A0", "@SUM(A1)", "\ttab", "\rreturn", "＝1+1"),
    *('comma, "quoted"; semicolon', "two\nlines", "Größe, 名前", "'apostrophe", "", "-0.5", "1e-3"),
)

# Before version 3 pandas reads the last digit wrong unless it is told.
EXACTLY: Any = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}


@pytest.fixture
def several(fake_sweep: FakeSweep) -> FakeSweep:
    """A sweep of two finished jobs, one failed, one stopped, one whose result was taken over."""
    sweep = fake_sweep
    hashes = {"hyperspec.data.hash": "da7a", "hyperspec.split.hash": "5p17"}
    for seed, size in ((0, "32"), (1, "64")):
        told = {"data.size": size, "loss.temperature": "0.1", "data.split.rotation": str(seed)}
        many = {f"control/other_{i}_top1": 0.3 for i in range(150)}  # more than pandas likes singly
        scored = {"params": told, "metrics": many, "tags": hashes}
        sweep.job("uniform", 10 + seed, seed, 0.5, predictions=True, **scored)
    broken = start_run(sweep.connection, "broken", parent_run_id=sweep.parent.run_id)
    broken.fail(RuntimeError("=HYPERLINK(1), boom"))
    stopped = sweep.job("random", 10, tags={"hyperspec.pruned": "3"})
    sweep.connection.client.set_terminated(stopped.run_id, "KILLED")
    first = sweep.connection.client.search_runs(
        [sweep.connection.experiment_id], "tags.`hyperspec.bands.n` = '11'"
    )[0]
    sweep.job("uniform", 11, 1, 0.5, tags={"hyperspec.resumed_from": first.info.run_id})
    sweep.parent.finish()
    return sweep


def test_one_row_per_job_with_its_end_settings_scores_and_hashes(several: FakeSweep) -> None:
    table = hyperspec.results(several.parent.run_id, uri=several.connection.uri)
    assert list(table["status"]) == ["FINISHED", "FINISHED", "FAILED", "PRUNED", "FINISHED"]
    first, _, failed, stopped, copy = table.to_dict("records")
    assert (first["strategy"], first["bands"], first["seed"], first["rotation"]) == (
        "uniform",
        10,
        0,
        0,
    )
    assert (first["temperature"], first["lr"], first["data.size"]) == (0.1, 0.001, 32)
    assert (first["objective"], first["objective_value"]) == ("val/knn_top1", 0.49)
    ends = [first[f"test/knn_top1{end}"] for end in ("", "_low", "_high")]
    assert ends == [0.5, 0.4, 0.6]
    assert np.isnan(first["val/knn_top1_low"])  # always a column
    assert (first["data_hash"], first["split_hash"]) == ("da7a", "5p17")
    assert failed["reason"] == "RuntimeError: =HYPERLINK(1), boom"
    assert np.isnan(failed["test/knn_top1"])
    assert stopped["pruned_epoch"] == 3
    # The first run and its copy are both there, and told apart.
    assert copy["taken_over_from"] == table["run_id"][1]
    assert list(table["taken_over_from"][:4]) == [""] * 4


def test_one_row_per_job_and_tested_image(several: FakeSweep) -> None:
    table = hyperspec.results([several.parent.name], predictions=True, uri=several.connection.uri)
    assert len(table) == 2 * 2 * NUM_SPECIMENS  # what was taken over does not count twice
    row = table.iloc[0]
    assert (row["image"], row["specimen"], row["truth"], row["knn"]) == (
        "s0/0D.bil",
        "s0/0",
        "s0",
        "s0",
    )
    assert (row["part"], row["bands"], row["seed"]) == ("test", 10, 0)
    assert table.groupby("run_id")["knn_correct"].mean().tolist() == [0.5, 0.5]


def test_the_newest_sweep_of_the_folder_is_the_default(
    several: FakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(several.connection.uri.removeprefix("sqlite:///")).parent)
    name = several.connection.experiment
    assert set(hyperspec.results(experiment=name)["sweep_id"]) == {several.parent.run_id}


@pytest.mark.parametrize("value", NASTY)
def test_no_formula_hides_in_a_cell(value: str) -> None:
    cell = str(guarded(value))
    assert cell.lstrip("'").startswith(value.lstrip("'"))
    is_number = value in ("-0.5", "1e-3")
    assert is_number or not cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
    assert guarded(-0.5) == -0.5


def nasty() -> pd.DataFrame:
    numbers = np.linspace(-1 / 3, 1e-9, len(NASTY))
    count = pd.array([None, *range(1, len(NASTY))], dtype="Int64")
    return pd.DataFrame({"text": NASTY, "value": numbers, "=count": count})


def test_pandas_reads_back_what_was_written(tmp_path: Path) -> None:
    table = nasty()
    told = io.StringIO(to_csv(table), newline="")
    back = pd.read_csv(told, dtype={"'=count": "Int64", "text": str}, keep_default_na=False,
                       na_values={"'=count": [""]}, **EXACTLY)  # fmt: skip
    assert list(back["text"]) == [guarded(value) for value in NASTY]
    assert back["value"].tolist() == table["value"].tolist()  # to the last digit
    assert back["'=count"].isna().tolist() == table["=count"].isna().tolist()
    records = json.loads(to_json(table))
    assert [row["text"] for row in records] == list(NASTY)
    assert [row["value"] for row in records] == table["value"].tolist()
    assert records[0]["=count"] is None
    table.to_parquet(tmp_path / "t.parquet", index=False)
    assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R (Rscript) is not installed")
def test_r_reads_back_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(to_csv(nasty()), encoding="utf-8", newline="")
    script = """
      t <- read.csv("t.csv", encoding = "UTF-8", check.names = FALSE)
      stopifnot(is.numeric(t$value), is.numeric(t[["'=count"]]), is.na(t[["'=count"]][1]))
      cat(nrow(t), sum(substr(t$text, 1, 1) %in% c("=", "+", "@", "\\t", "\\r")))
    """
    done = subprocess.run(
        ["Rscript", "-e", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(len(NASTY)), "0"]


def test_the_command_writes_each_format_and_shows_a_table(
    several: FakeSweep, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    asked = ["results", several.parent.run_id, "--uri", several.connection.uri]
    table = hyperspec.results(several.parent.run_id, uri=several.connection.uri)
    exactly = partial(pd.read_csv, **EXACTLY)
    readers = {"csv": exactly, "json": pd.read_json, "parquet": pd.read_parquet}
    for kind, read in readers.items():
        path = tmp_path / f"new/jobs.{kind}"
        assert main([*asked, f"--{kind}", str(path)]) == 0
        assert f"wrote {path}: 5 rows".encode() in capsysbinary.readouterr().out
        assert main([*asked, f"--{kind}"]) == 0  # nothing but the table goes to a pipe
        assert capsysbinary.readouterr().out == path.read_bytes()
        back = read(path)
        assert list(back.columns) == list(table.columns)
        assert back["run_id"].tolist() == table["run_id"].tolist()
        assert (
            back["objective_value"].fillna(-1).tolist()
            == table["objective_value"].fillna(-1).tolist()
        )
    assert main(asked) == 0
    shown = capsysbinary.readouterr().out.decode()
    assert f"taken over  result of run {table['run_id'][1]}" in shown
    assert "failed      RuntimeError: =HYPERLINK(1), boom" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main([*asked, "--predictions"]) == 0
    assert f"40 of {4 * NUM_SPECIMENS} rows" in capsysbinary.readouterr().out.decode()


def test_a_wrong_sweep_is_told_and_no_store_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["results", "latest"]) == 2
    assert f"There is no tracking store at {tmp_path / 'mlflow.db'}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
