from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from fake_sweeps import FakeSweep

from hyperspec.tracking.client import connect
from hyperspec.tracking.ui import ui_command
from hyperspec.utils.errors import TrackingError


def test_the_command_serves_the_store_with_one_worker_and_no_jobs(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.touch()
    command = ui_command(f"sqlite:///{database}", "0.0.0.0", 5001)
    assert command.words == (
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--host", "0.0.0.0", "--port", "5001", "--workers", "1"),
        *("--default-artifact-root", f"file://{tmp_path}/mlflow_artifacts"),
        "--no-serve-artifacts",
    )
    assert command.environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert command.url == "http://127.0.0.1:5001"


def test_what_cannot_be_served_is_answered_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"There is no tracking store at .*missing\.db"):
        ui_command(f"sqlite:///{tmp_path}/missing.db")
    with pytest.raises(TrackingError, match="is a tracking server with a UI of its own"):
        ui_command("http://127.0.0.1:5000")
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(TrackingError, match="--port 70000 is outside 1 to 65535"):
        ui_command(f"sqlite:///{tmp_path}/mlflow.db", port=70000)


def test_a_server_that_does_not_answer_is_named_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(
        TrackingError, match=f"tracking.uri=http://127.0.0.1:{port} does not answer"
    ):
        connect(f"http://127.0.0.1:{port}", "x")
    assert time.monotonic() - began < 120, "it waited as for a busy server"


@pytest.mark.slow
def test_the_served_ui_answers_with_runs_and_artifacts(fake_sweep: FakeSweep) -> None:
    job = fake_sweep.job("uniform", 50, predictions=True)
    fake_sweep.parent.finish()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ui_command(fake_sweep.connection.uri, port=port)
    program = "import sys; from hyperspec.tracking.ui import launch_ui; "
    program += "sys.exit(launch_ui(sys.argv[1], port=int(sys.argv[2])))"
    words = [sys.executable, "-c", program, fake_sweep.connection.uri, str(port)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        assert server.stdout.readline().startswith(f"MLflow UI: {command.url}/#/experiments?")
        _wait_for(f"{command.url}/health")
        base = f"{command.url}/api/2.0/mlflow"
        run = json.load(urlopen(f"{base}/runs/get?run_id={job.run_id}"))["run"]
        assert run["info"]["run_name"] == "uniform n=050 seed=0"
        query = f"get-artifact?path=evaluation/test_predictions.csv&run_uuid={job.run_id}"
        first = urlopen(f"{command.url}/{query}").read().decode().splitlines()[0]
        assert first.startswith("file,specimen,label")
        assert b"<title>" in urlopen(command.url).read()
    finally:
        server.terminate()
        server.stdout.close()
        assert server.wait(120) == 0
    with pytest.raises(URLError):
        urlopen(command.url, timeout=5)


def _wait_for(url: str) -> None:
    for _ in range(120):
        try:
            urlopen(url, timeout=60).close()
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
        else:
            return
    raise TimeoutError(url)
