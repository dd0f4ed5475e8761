"""Commands that a sweep prints are pasted into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hyperspec.report.load import load_sweep
from hyperspec.report.output import print_report, write_report
from hyperspec.sweeps.callback import SweepCallback
from hyperspec.tracking.client import connect
from hyperspec.tracking.run import start_run

FOLDER = "my #1 'sweep' 50%"


def test_the_reports_command_names_the_folder_as_one_word() -> None:
    callback = SweepCallback()
    callback._sweep_dir = Path(FOLDER)
    assert shlex.split(callback._report_command) == ["hyperspec", "report", FOLDER]


def test_the_uis_command_leads_to_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FOLDER).mkdir()
    connection = connect(f"{tmp_path / FOLDER}/mlflow.db", "e")
    parent = start_run(connection, "sweep", kind="sweep", tags={"hyperspec.study": "s"})
    start_run(connection, "job", parent_run_id=parent.run_id).fail(RuntimeError("planned"))
    parent.finish()
    data = load_sweep(connection.uri, ["latest"])
    print_report(data, write_report(data, tmp_path / "report"))
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("MLflow UI: ")]
    words = shlex.split(line.removeprefix("MLflow UI: "))
    assert words == ["hyperspec", "ui", "--uri", connection.uri]
