from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest
from fake_sweeps import FakeSweep
from listening import listening

from hyperspec.cli.main import main
from hyperspec.tracking.client import connect
from hyperspec.tracking.saved_view import save_view
from hyperspec.tracking.ui import UiCommand, launch_ui, ui_command
from hyperspec.utils.errors import TrackingError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def test_the_command_serves_the_store_with_one_worker_and_no_jobs(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.touch()
    command = ui_command(f"sqlite:///{database}", "0.0.0.0", 5001)
    assert command.words == (
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", f"sqlite:///{database}"),
        *("--host", "0.0.0.0", "--port", "5001", "--workers", "1"),
        *("--default-artifact-root", (tmp_path / "mlflow_artifacts").as_uri()),
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


def test_a_port_in_use_is_told_and_another_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = ui_command(f"sqlite:///{tmp_path}/mlflow.db", port=port)
    assert f"port {port} is in use; the UI takes a free one" in capsys.readouterr().out
    given = int(command.words[command.words.index("--port") + 1])
    assert given != port
    assert command.url == f"http://127.0.0.1:{given}"
    assert main(["ui", "--uri", f"{tmp_path}/mlflow.db", "--host", "203.0.113.1"]) == 2
    assert "--host 203.0.113.1 --port 5000: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "who"),
    [
        ("127.0.0.1", "on this machine alone; --host lets others in"),
        ("0.0.0.0", "no password, for all who reach this machine"),
    ],
)
def test_who_can_open_it_is_told(
    host: str, who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    connect(uri, "x")
    no_server = (sys.executable, "-c", "")
    monkeypatch.setattr(
        "hyperspec.tracking.ui.ui_command", lambda *_: UiCommand(no_server, {}, "http://x")
    )
    assert launch_ui(uri, host) == 0
    assert f"({who}; Ctrl-C ends it)" in capsys.readouterr().out


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
    job = fake_sweep.job("uniform", 50, predictions=True, knn=0.731)
    fake_sweep.parent.finish()
    connection = fake_sweep.connection
    experiment = connection.known_experiment()
    save_view(
        connection.client,
        experiment,
        ["bands.n", "lr"],
        "test/knn_top1",
        objective="auto",
        less=False,
    )
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
        page = server.stdout.readline().split()[2]
        assert page.startswith(f"{command.url}/#/experiments/{experiment}/runs?")
        _wait_for(f"{command.url}/health")
        below = psutil.Process(server.pid).children(recursive=True)
        assert listening(below) == {("127.0.0.1", port)}
        base = f"{command.url}/api/2.0/mlflow"
        run = json.load(urlopen(f"{base}/runs/get?run_id={job.run_id}"))["run"]
        assert run["info"]["run_name"] == "uniform n=050 seed=0"
        query = f"get-artifact?path=evaluation/test_predictions.csv&run_uuid={job.run_id}"
        first = urlopen(f"{command.url}/{query}").read().decode().splitlines()[0]
        assert first.startswith("file,specimen,label")
        assert b"<title>" in urlopen(command.url).read()
        if CHROMIUM is not None:  # what a newcomer sees, after no click and after one
            table = _shown(page)
            seen = ("bands.count", "objective", "test/knn_top1_low", "0.731")
            assert [word for word in seen if word not in table] == []
            charts = _shown(f"{page}&compareRunsMode=CHART")
            assert "Parallel Coordinates" in charts
            assert "bands.count vs. objective" in charts
    finally:
        server.terminate()
        server.stdout.close()
        assert server.wait(120) == 0
    with pytest.raises(URLError):
        urlopen(command.url, timeout=5)


def _shown(page: str) -> str:
    """Return a page as a browser has it after its scripts."""
    words = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += ["--window-size=2600,1300", "--virtual-time-budget=60000", page]
    return subprocess.run(words, capture_output=True, text=True, timeout=600, check=True).stdout


def _wait_for(url: str) -> None:
    for _ in range(120):
        try:
            urlopen(url, timeout=60).close()
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
        else:
            return
    raise TimeoutError(url)
