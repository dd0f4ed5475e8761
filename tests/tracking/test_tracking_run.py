from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from hyperspec.tracking.cleanup import close_earlier_starts, close_stale
from hyperspec.tracking.client import Connection, connect
from hyperspec.tracking.git import git_tags
from hyperspec.tracking.health import local_folder
from hyperspec.tracking.run import describe, interrupted, start_run
from hyperspec.utils.errors import TrackingError
from hyperspec.utils.process import host_name, is_dead, process_tag

Reader = Callable[[str, str], str]


def _status(connection: Connection, run_id: str) -> str:
    return connection.client.get_run(run_id).info.status


def test_a_run_carries_name_parent_tags_params_and_metrics(connection: Connection) -> None:
    with start_run(connection, "sweep", kind="sweep") as parent:
        job = start_run(
            connection,
            "uniform n=050",
            parent_run_id=parent.run_id,
            tags={"hyperspec.bands.n": "50"},
            params={f"p{i:03d}": str(i) for i in range(150)},
        )
        with job:
            for step in range(5):
                job.log_metrics({"train/loss": 1.0 / (step + 1)}, step)
    seen = connection.client.get_run(job.run_id)
    assert seen.info.run_name == "uniform n=050"
    assert seen.info.status == "FINISHED"
    assert seen.data.tags["mlflow.parentRunId"] == parent.run_id
    assert seen.data.tags["hyperspec.bands.n"] == "50"
    assert seen.data.tags["hyperspec.kind"] == "job"
    assert seen.data.params == {f"p{i:03d}": str(i) for i in range(150)}
    history = connection.client.get_metric_history(job.run_id, "train/loss")
    assert [(m.step, m.value) for m in history] == [(s, 1.0 / (s + 1)) for s in range(5)]
    assert _status(connection, parent.run_id) == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("loss is nan\nat step 7"), "FAILED"),
        (SystemExit(1), "FAILED"),
        (SystemExit(0), "FINISHED"),
        (SystemExit(143), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
        (GeneratorExit(), "FAILED"),
    ],
)
def test_no_way_out_leaves_a_run_running(
    connection: Connection, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), start_run(connection, "job") as run:
        raise error
    assert _status(connection, run.run_id) == status


def test_a_failure_keeps_metrics_reason_and_traceback(
    connection: Connection, artifact_text: Reader
) -> None:
    def deep() -> None:
        raise RuntimeError("loss is nan\nat step 7")

    run = start_run(connection, "job")
    run.log_metrics({"train/loss": 2.5}, 6)
    with pytest.raises(RuntimeError), run:
        deep()
    seen = connection.client.get_run(run.run_id).data
    assert seen.tags["hyperspec.failure.reason"] == "RuntimeError: loss is nan"
    assert seen.metrics == {"train/loss": 2.5}
    text = artifact_text(run.run_id, "error/traceback.txt")
    assert "in deep" in text
    assert text.endswith("RuntimeError: loss is nan\nat step 7\n")


def test_the_status_is_written_even_when_the_traceback_cannot_be(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError("no space left on device")

    run = start_run(connection, "job")
    monkeypatch.setattr(run, "log_text", refuse)
    with pytest.raises(KeyError), run:
        raise KeyError("x")
    assert _status(connection, run.run_id) == "FAILED"


def test_a_bad_parameter_at_the_start_closes_the_run(connection: Connection) -> None:
    with pytest.raises(TrackingError, match="'not@allowed' cannot be the name of a parameter"):
        start_run(connection, "job", params={"not@allowed": "1"})
    runs = connection.client.search_runs([connection.experiment_id])
    assert [run.info.status for run in runs] == ["FAILED"]


def test_ctrl_c_that_lightning_turned_into_exit_counts_as_interruption() -> None:
    def as_lightning_does() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit) as caught:
        as_lightning_does()
    assert interrupted(caught.value)
    assert not interrupted(SystemExit(1))
    assert not interrupted(RuntimeError())


def test_errors_are_described_in_one_line() -> None:
    assert describe(ValueError("bands.n=0\nis no")) == "ValueError: bands.n=0"
    assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_a_changed_parameter_is_noted_and_does_not_crash(connection: Connection) -> None:
    with start_run(connection, "job", params={"lr": "0.1", "seed": "0"}) as run:
        run.log_params({"lr": "0.2", "seed": "0", "epochs": "3"})
    seen = connection.client.get_run(run.run_id).data
    assert seen.params == {"lr": "0.1", "seed": "0", "epochs": "3"}
    assert json.loads(seen.tags["hyperspec.params.changed"]) == {"lr": "0.2"}


def test_a_long_parameter_is_cut_with_a_note_and_kept_whole(
    connection: Connection, artifact_text: Reader
) -> None:
    value = "".join(f"{i}," for i in range(3000))
    with start_run(connection, "job", params={"bands.indices": value}) as run:
        run.log_params({"bands.indices": value})
    stored = connection.client.get_run(run.run_id).data.params["bands.indices"]
    assert len(stored) == 6000
    assert stored.startswith("0,1,2,")
    note = f" ... [cut: {len(value)} characters, whole in artifact params/bands.indices.txt]"
    assert stored.endswith(note)
    assert artifact_text(run.run_id, "params/bands.indices.txt") == value


def test_artifacts_of_every_kind(
    connection: Connection, artifact_text: Reader, tmp_path: Path
) -> None:
    from matplotlib.figure import Figure

    (tmp_path / "bands.json").write_text("{}")
    with start_run(connection, "job") as run:
        run.log_artifact(tmp_path / "bands.json", "inputs")
        run.log_dict({"bands": {"n": 50}}, "config.yaml")
        run.log_figure(Figure(), "figures/empty.png")
    assert artifact_text(run.run_id, "inputs/bands.json") == "{}"
    assert artifact_text(run.run_id, "config.yaml").split() == ["bands:", "n:", "50"]
    folder = local_folder(connection.client.get_run(run.run_id).info.artifact_uri)
    assert (folder / "figures/empty.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_two_runs_in_one_process_do_not_mix(connection: Connection) -> None:
    with start_run(connection, "a") as first, start_run(connection, "b") as second:
        first.log_metrics({"x": 1.0})
        second.log_metrics({"x": 2.0})
    values = [connection.client.get_run(r.run_id).data.metrics["x"] for r in (first, second)]
    assert values == [1.0, 2.0]


def test_metrics_wait_and_survive_a_store_that_refuses_for_a_while(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(connection, "job", flush_seconds=0.0)
    calls: list[int] = []
    write = connection.client.log_batch

    def refuse_twice(run_id: str, metrics: list[object], **rest: object) -> None:
        calls.append(len(metrics))
        if len(calls) <= 2:
            raise MlflowException("store is down")
        write(run_id, metrics=metrics, **rest)

    monkeypatch.setattr(connection.client, "log_batch", refuse_twice)
    for step in range(3):
        run.log_metrics({"train/loss": float(step)}, step)
    assert run.flush()
    assert len(calls) >= 3
    run.finish()
    history = connection.client.get_metric_history(run.run_id, "train/loss")
    assert [m.value for m in history] == [0.0, 1.0, 2.0]


def test_metrics_are_written_in_batches_off_the_step(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(connection, "job", flush_seconds=600.0)
    sizes: list[int] = []
    write = connection.client.log_batch

    def count(run_id: str, metrics: list[object], **rest: object) -> None:
        sizes.append(len(metrics))
        write(run_id, metrics=metrics, **rest)

    monkeypatch.setattr(connection.client, "log_batch", count)
    for step in range(1250):
        run.log_metrics({"a": 1.0, "b@c": 2.0}, step)
    assert sizes == []
    assert run.flush()
    assert sizes == [900, 900, 700]
    run.finish()
    for name, value in (("a", 1.0), ("b_c", 2.0)):
        history = connection.client.get_metric_history(run.run_id, name)
        assert [(m.step, m.value) for m in history] == [(step, value) for step in range(1250)]


def test_lightning_metrics_reach_the_run_and_the_run_stays_open(connection: Connection) -> None:
    import hyperspec  # noqa: F401 - lets Lightning import beside a CPU torch
    from hyperspec.tracking.lightning import RunLogger

    with start_run(connection, "job") as run:
        logger = RunLogger(run)
        logger.log_hyperparams({"optimizer": {"lr": 0.1}})
        logger.log_metrics({"train/loss": 0.5, "epoch": 1}, 10)
        logger.finalize("success")
        assert _status(connection, run.run_id) == "RUNNING"
        assert (logger.name, logger.version) == (connection.experiment, run.run_id)
    seen = connection.client.get_run(run.run_id).data
    assert seen.metrics == {"train/loss": 0.5, "epoch": 1.0}
    assert seen.params == {"optimizer.lr": "0.1"}


def test_a_process_is_told_from_another_with_its_number() -> None:
    mine = process_tag()
    assert not is_dead(host_name(), mine)
    head, _, start = mine.rpartition("/")
    assert is_dead(host_name(), f"{head}/{int(start) - 1}")
    boot, namespace, pid, start = mine.split("/")
    assert is_dead(host_name(), f"another-boot/{namespace}/{pid}/{start}")
    assert not is_dead(host_name(), f"{boot}/4242/{pid}/{start}")
    assert not is_dead("another-host", f"{head}/1")
    assert not is_dead(host_name(), "")


def test_a_killed_process_leaves_a_run_that_the_next_start_closes(connection: Connection) -> None:
    program = (
        "import sys, time; from hyperspec.tracking.client import connect; "
        "from hyperspec.tracking.run import start_run; c = connect(sys.argv[1], sys.argv[2]); "
        "p = start_run(c, 'sweep', kind='sweep'); "
        "start_run(c, 'job', parent_run_id=p.run_id); print('ready', flush=True); time.sleep(60)"
    )
    with start_run(connection, "mine") as mine:
        victim = subprocess.Popen(
            [sys.executable, "-c", program, connection.uri, connection.experiment],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert victim.stdout is not None
        assert victim.stdout.readline() == "ready\n"
        assert close_stale(connection) == []
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(30)
        victim.stdout.close()
        assert len(close_stale(connection)) == 2
        assert _status(connection, mine.run_id) == "RUNNING"
    runs = connection.client.search_runs([connection.experiment_id])
    assert {r.info.run_name: r.info.status for r in runs} == {
        "mine": "FINISHED",
        "sweep": "KILLED",
        "job": "FAILED",
    }
    job = next(r for r in runs if r.info.run_name == "job")
    reason = job.data.tags["hyperspec.failure.reason"]
    assert reason == f"process {victim.pid} on {host_name()} ended without closing its run"


def start_of(connection: Connection, parent: str, name: str, job: str, host: str) -> str:
    """Make a run that says RUNNING, whose process was on a machine."""
    tags = {"hyperspec.kind": "job", "mlflow.parentRunId": parent, "hyperspec.job": job}
    tags |= {"hyperspec.host": host, "hyperspec.process": "boot/1/42/7"}
    made = connection.client.create_run(connection.known_experiment(), tags=tags, run_name=name)
    return str(made.info.run_id)


def test_another_start_of_a_job_closes_the_one_before_on_whatever_machine(
    connection: Connection,
) -> None:
    """Nobody can tell whether a process of another machine lives; who starts it again knows."""
    starts = {
        "lost elsewhere": start_of(connection, "p", "a", "3/seed_0", "node7"),
        "lost here": start_of(connection, "p", "b", "3/seed_0", host_name()),
        "sent away": start_of(connection, "p", "c", "3/seed_0", "node7"),
        "result given": start_of(connection, "p", "d", "3/seed_0", "node7"),
        "another job": start_of(connection, "p", "e", "3/seed_1", "node7"),
        "another sweep": start_of(connection, "q", "f", "3/seed_0", "node7"),
    }
    connection.client.set_terminated(starts["sent away"], "FAILED")  # as submitit leaves it
    connection.client.set_terminated(starts["result given"], "FINISHED")
    before = close_earlier_starts(connection, "p", "3/seed_0")
    assert set(before) == {starts[name] for name in ("lost elsewhere", "lost here", "sent away")}
    found = {name: connection.client.get_run(run_id) for name, run_id in starts.items()}
    assert {name: run.info.status for name, run in found.items()} == {
        **dict.fromkeys(("lost elsewhere", "lost here", "sent away"), "FAILED"),
        "result given": "FINISHED",
        **dict.fromkeys(("another job", "another sweep"), "RUNNING"),
    }
    marked = {name for name, run in found.items() if "hyperspec.requeued" in run.data.tags}
    assert {starts[name] for name in marked} == set(before)
    reason = found["lost elsewhere"].data.tags["hyperspec.failure.reason"]
    assert reason == "process 42 on node7 ended without closing its run"


def test_git_commit_and_changes_are_told(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert git_tags(tmp_path / "missing") == {}
    git("init", "-q")
    (tmp_path / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-qm", "first")
    (tmp_path / "sub").mkdir()
    commit = git("rev-parse", "HEAD")
    expected = {"mlflow.source.git.commit": commit, "hyperspec.git.dirty": "false"}
    assert git_tags(tmp_path) == expected
    (tmp_path / "a.py").write_text("2")
    assert git_tags(tmp_path / "sub")["hyperspec.git.dirty"] == "true"


def test_connections_in_other_processes_reuse_the_experiment(connection: Connection) -> None:
    again = connect(connection.uri, connection.experiment)
    assert again.experiment_id == connection.experiment_id
