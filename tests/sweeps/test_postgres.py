"""Studies and tracking on a PostgreSQL server, which each test session starts for itself."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow_server import mlflow_server
from postgres_server import create_database, is_installed, postgres_server
from sweep_study import Study

from hyperspec.tracking.client import connect, open_client

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.skipif(not is_installed(), reason="PostgreSQL is not installed"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgres)")
    with postgres_server() as address:
        yield address


@pytest.fixture(scope="module")
def tracking(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server whose runs are in PostgreSQL."""
    folder = tmp_path_factory.mktemp("tracking")
    with mlflow_server(folder, create_database(server, "mlflow")) as address:
        yield address


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
    ended = [process.communicate(timeout=600) for process in started]
    assert [process.returncode for process in started] == [0] * count, ended
    return [out.strip().splitlines()[-1] for out, _ in ended]


CONNECT = """
import sys
from hyperspec.tracking.run import start_run
from hyperspec.tracking.client import connect
with start_run(connect(sys.argv[1], "band_count"), "job") as run:
    run.log_metrics({"objective": 0.5})
    print(run.run_id)
"""

TRIALS = """
import optuna, sys
from hyperspec.search.study import study_lock
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
    address = create_database(server, "tracking")
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


def test_a_row_that_another_writer_makes_first_is_written_again(
    server: str, tracking: str, tmp_path: Path
) -> None:
    """Two commands save the view of one new experiment: MLflow answers one with the clash."""
    import psycopg

    connection = connect(tracking, "same_row", tmp_path / "outbox")
    experiment = connection.known_experiment()
    database = server.replace("+psycopg", "") + "/mlflow"
    insert = "INSERT INTO experiment_tags (key, value, experiment_id) VALUES ('view', 'first', %s)"
    with (
        psycopg.connect(database) as other,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        other.execute(insert, (experiment,))  # not seen by others yet, but they wait for it
        ours = pool.submit(
            connection.ask,
            lambda client: client.set_experiment_tag(experiment, "view", "second"),
        )
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with psycopg.connect(database, autocommit=True) as watcher:
            while watcher.execute(waiting).fetchone() == (0,) and not ours.done():
                time.sleep(0.01)
        other.commit()
        ours.result(timeout=60)
    assert connection.client.get_experiment(experiment).tags["view"] == "second"


def test_workers_share_one_study_and_no_trial_repeats(server: str, tmp_path: Path) -> None:
    import optuna

    address = create_database(server, "studies")
    assert together(TRIALS, 3, [address], tmp_path) == ["done"] * 3
    storage = optuna.storages.RDBStorage(address)
    study = optuna.load_study(study_name="s", storage=storage)
    assert [trial.number for trial in study.trials] == list(range(12))
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert len({trial.params["x"] for trial in study.trials}) == 12
    storage.remove_session()
    storage.engine.dispose()


TWO_WORKERS = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def twice(study: Study, tracking: str, *words: str) -> tuple[list[Run], list[Run]]:
    """Start a command twice at the same time; return its parents and their jobs."""
    address = [f"tracking.uri={tracking}", "tracking.system_metrics=false", *TWO_WORKERS]
    both = [study.start("-m", *words, *address) for _ in range(2)]
    ended = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    client = open_client(tracking)
    experiment = client.get_experiment_by_name(study.folder.name)
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if run.data.tags["hyperspec.kind"] == "sweep"]
    assert [run.info.status for run in runs] == ["FINISHED"] * len(runs)
    assert len(parents) == 2
    return parents, [run for run in runs if run not in parents]


def trained(jobs: list[Run]) -> list[str]:
    own = [run for run in jobs if "hyperspec.resumed_from" not in run.data.tags]
    return sorted(run.data.params["bands.n"] for run in own)


def test_two_searches_at_once_end_with_the_total_of_their_study(
    server: str, tracking: str, study: Study
) -> None:
    import optuna

    address = create_database(server, "searched")
    words = ["search=tpe", "bands.n=choice(5,6,7,8)", "hydra.sweeper.n_trials=4"]
    words += ["hydra.sweeper.n_jobs=2", "hydra.sweeper.study_name=s"]
    parents, jobs = twice(study, tracking, *words, f"hydra.sweeper.storage={address}")
    assert trained(jobs) == ["5", "6", "7", "8"]
    assert len(jobs) == 4  # of both sweeps together
    assert {r.data.tags["mlflow.parentRunId"] for r in jobs} <= {r.info.run_id for r in parents}
    storage = optuna.storages.RDBStorage(address)
    found = optuna.load_study(study_name="s", storage=storage)
    kept = [trial for trial in found.trials if "hyperspec:duplicate" not in trial.user_attrs]
    assert [trial.state.name for trial in kept] == ["COMPLETE"] * 4
    storage.remove_session()
    storage.engine.dispose()


def test_two_grids_at_once_train_no_job_twice(server: str, tracking: str, study: Study) -> None:
    parents, jobs = twice(study, tracking, "bands.n=10,11,12", "sweep.when_busy=join")
    assert trained(jobs) == ["10", "11", "12"]
    own = {parent.info.run_id: list[str]() for parent in parents}
    for run in jobs:
        own[run.data.tags["mlflow.parentRunId"]].append(run.data.params["bands.n"])
    assert [sorted(counts) for counts in own.values()] == [["10", "11", "12"]] * 2
