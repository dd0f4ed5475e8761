"""Runs of others in a report: a damaged file costs its job's part, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path

import pandas as pd
import pytest
from fake_sweeps import FakeSweep

from hyperspec.report.load import load_sweep
from hyperspec.report.output import write_report
from hyperspec.report.prediction_rows import prediction_rows
from hyperspec.tracking.contract import Param, Tag
from hyperspec.tracking.health import local_folder
from hyperspec.utils.csv_text import csv_text, guarded, unguarded

DAMAGE = {
    "empty": b"",
    "header": b"file,specimen,label",
    "ragged": b"file,specimen,label,knn_correct\na,b,c,1\na,b\n",
    "binary": bytes(range(256)) * 40,
    "columns": b"a,b\n1,2\n",
    "twice": b"file,file,specimen,label\na,a,b,c\n",
    "values": b"file,specimen,label,knn_correct\na,b,c,=SECRET()\n",
    "html": b"<html><body>404</body></html>",
    "long": b"file,specimen,label\n" + b"x" * 200_000 + b",b,c\n",
}


def predictions_of(run_id: str, data) -> Path:
    address = data.jobs.set_index("run_id").loc[run_id, "artifact_uri"]
    root = local_folder(address)
    assert root is not None
    return root / "evaluation/test_predictions.csv"


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if kind != "header"])
def test_damaged_predictions_cost_their_job_s_part(
    fake_sweep: FakeSweep, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    jobs = [fake_sweep.job("uniform", n, seed, predictions=True) for n in (5, 9) for seed in (0, 1)]
    jobs.append(fake_sweep.job("rgb", 3, predictions=True))
    fake_sweep.parent.finish()
    uri, name = fake_sweep.connection.uri, fake_sweep.parent.run_id
    predictions_of(jobs[0].run_id, load_sweep(uri, [name])).write_bytes(DAMAGE[kind])
    data = load_sweep(uri, [name])
    with caplog.at_level(logging.WARNING):
        paths = write_report(data, tmp_path / "report")
    told = [r.getMessage() for r in caplog.records if jobs[0].run_id in r.getMessage()]
    assert len(told) == 1, told
    assert "cannot be used and is left out" in told[0]
    assert len(told[0]) < 400
    assert "SECRET" not in told[0]
    assert data.predictions(jobs[0].run_id) is None
    assert data.predictions(jobs[1].run_id) is not None
    assert "rgb" in paths.table.read_text()


def test_a_folder_in_place_of_the_predictions_costs_no_more(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    job = fake_sweep.job("uniform", 5, predictions=True)
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    path = predictions_of(job.run_id, data)
    path.unlink()
    path.mkdir()
    assert data.predictions(job.run_id) is None
    write_report(data, tmp_path / "report")


def test_tags_and_parameters_that_are_no_numbers_are_as_none(
    fake_sweep: FakeSweep, tmp_path: Path
) -> None:
    odd = {Tag.SECONDS: "soon", Tag.NUM_BANDS: "many", Tag.NUM_CLASSES: "x", Tag.WAVELENGTHS: "[a]"}
    params = {Param.NUM_SPECIMENS: "some", "lr": "fast", "seed": "none"}
    fake_sweep.job("uniform", 5, predictions=True, tags=odd, params=params)
    fake_sweep.job("uniform", 9, predictions=True)
    fake_sweep.parent.log_params({Param.MARGIN: "7"})
    fake_sweep.parent.finish()
    data = load_sweep(fake_sweep.connection.uri, [fake_sweep.parent.run_id])
    assert data.sweeps[0].margin is None
    write_report(data, tmp_path / "report")


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"file": ["=a", "-0.5", "'b", "'=c", "@d"], "specimen": ["001", "NA", "", "x,y", '"'],
         "label": ["+x", "-y", "z", "", "1e3"], "knn_correct": [1, 0, 1, 0, 1]}
    )  # fmt: skip
    path = tmp_path / "p.csv"
    path.write_text(csv_text(table))
    pd.testing.assert_frame_equal(
        prediction_rows(path, ("file",)), table, check_dtype=False, check_column_type=False
    )
    path.write_bytes(DAMAGE["header"])
    assert list(prediction_rows(path, ("label",))) == ["file", "specimen", "label"]


CELLS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1", "'=1"]


@pytest.mark.parametrize("cell", CELLS)
def test_cells_that_a_spreadsheet_would_compute_are_guarded(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"
    assert unguarded(f"'{cell}") == cell
    table = pd.DataFrame({cell: [cell, "plain"], "value": [-0.5, 2]})
    header, first, _ = csv.reader(io.StringIO(csv_text(table), newline=""))
    assert header == [f"'{cell}", "value"]
    assert first == [f"'{cell}", "-0.5"]


@pytest.mark.parametrize("cell", ["-0.5", "+1", "-1e-05", "-inf", "a=b", "'tis", "", "1-2", "nan"])
def test_numbers_and_plain_texts_stay(cell: str) -> None:
    assert guarded(cell) == unguarded(cell) == cell
