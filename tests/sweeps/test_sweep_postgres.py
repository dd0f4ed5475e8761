"""Studies and tracking on a PostgreSQL server, which each test session starts for itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperspec.tracking.store import open_client

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.skipif(shutil.which("initdb") is None, reason="PostgreSQL is not installed"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server on a free port of loopback; it refuses to run as root."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgres)")
    # Not below pytest's own folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="hyperspec-postgres-"))
    as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    prefix = as_user if os.getuid() == 0 else []
    if prefix:
        shutil.chown(folder, 65534, 65534)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    common = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL}
    words = ["initdb", "-D", str(data), "-U", "hyperspec", "--auth=trust", "--no-sync"]
    subprocess.run([*prefix, *words], **common)  # type: ignore[call-overload]
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    control = [*prefix, "pg_ctl", "-D", str(data), "-w"]
    log = ["-l", str(folder / "log")]
    subprocess.run([*control, *log, "-o", options, "start"], **common)  # type: ignore[call-overload]
    yield f"postgresql+psycopg://hyperspec@127.0.0.1:{port}"
    subprocess.run([*control, "-m", "immediate", "stop"], **common)  # type: ignore[call-overload]
    shutil.rmtree(folder)


def create(server: str, name: str) -> str:
    """Make an empty database and return its address."""
    import psycopg

    plain = server.replace("+psycopg", "")
    with psycopg.connect(f"{plain}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
    return f"{server}/{name}"


def together(program: str, count: int, words: list[str], cwd: Path) -> list[str]:
    """Run a program in several processes at once; return what they print."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, *words],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    ended = [process.communicate(timeout=280) for process in started]
    assert [process.returncode for process in started] == [0] * count, ended
    return [out.strip().splitlines()[-1] for out, _ in ended]


CONNECT = """
import sys
from hyperspec.tracking.run import start_run
from hyperspec.tracking.store import connect
with start_run(connect(sys.argv[1], "band_count"), "job") as run:
    run.log_metrics({"objective": 0.5})
    print(run.run_id)
"""

TRIALS = """
import optuna, sys
from hyperspec.sweeps.study import study_lock
optuna.logging.set_verbosity(optuna.logging.ERROR)
with study_lock(sys.argv[1]):
    study = optuna.create_study(study_name="s", storage=sys.argv[1], load_if_exists=True)
study.sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True)
for _ in range(4):
    trial = study.ask()
    study.tell(trial, trial.suggest_float("x", 0, 1))
print("done")
"""


def test_eight_jobs_at_once_on_a_fresh_database(server: str, tmp_path: Path) -> None:
    address = create(server, "tracking")
    found = together(CONNECT, 8, [address], tmp_path)
    assert len(set(found)) == 8
    client = open_client(address)
    experiments = [e.name for e in client.search_experiments() if e.name != "Default"]
    assert experiments == ["band_count"]
    experiment = client.get_experiment_by_name("band_count")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_id for run in runs) == sorted(found)
    assert {run.info.status for run in runs} == {"FINISHED"}
    client._tracking_client.store.engine.dispose()  # open connections are warned of


def test_workers_share_one_study_and_no_trial_repeats(server: str, tmp_path: Path) -> None:
    import optuna

    address = create(server, "studies")
    assert together(TRIALS, 3, [address], tmp_path) == ["done"] * 3
    storage = optuna.storages.RDBStorage(address)
    study = optuna.load_study(study_name="s", storage=storage)
    assert [trial.number for trial in study.trials] == list(range(12))
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert len({trial.params["x"] for trial in study.trials}) == 12
    storage.remove_session()
    storage.engine.dispose()
