"""MLflow's own variables mean what its users expect, and no password is kept."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from hyperspec.cli.train import main
from hyperspec.config import config_dir, groups
from hyperspec.sweeps.callback import command_line
from hyperspec.tracking.cleanup import send_outbox
from hyperspec.tracking.client import connect, resolve_uri
from hyperspec.tracking.health import shown
from hyperspec.tracking.offline.journal import waiting_runs
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import TrackingError

URI, NAME, NUMBER = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"
SECRET = "s3cret"


@pytest.fixture
def nobody() -> str:
    """A server's address, with a password, that nobody answers at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://ann:{SECRET}@127.0.0.1:{probe.getsockname()[1]}"


def test_the_config_comes_first_then_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv(URI, "")
    assert resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv(URI, "http://host:1")
    assert resolve_uri(None, tmp_path) == "http://host:1"
    assert resolve_uri("sqlite:///x.db", tmp_path) == f"sqlite:///{tmp_path}/x.db"
    monkeypatch.setenv(URI, "file:///mlruns")
    with pytest.raises(TrackingError, match=f"^{URI}=file:///mlruns cannot hold runs"):
        resolve_uri(None, tmp_path)


def test_the_experiment_of_the_environment(
    store_uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv(URI, store_uri)
    given = connect(None, "given")
    assert f"the store is {store_uri}, named by {URI}" in caplog.text
    monkeypatch.setenv(NUMBER, given.experiment_id)
    assert connect(None, None).experiment_id == given.experiment_id
    monkeypatch.setenv(NAME, "named")
    assert connect(None, None).experiment == "named"
    assert connect(None, "given").experiment == "given"
    monkeypatch.delenv(NAME)
    monkeypatch.setenv(NUMBER, "987654")
    with pytest.raises(TrackingError, match=f"{NUMBER}=987654 names no experiment of sqlite:"):
        connect(None, None)
    monkeypatch.delenv(NUMBER)
    assert connect(None, None).experiment == "hyperspec"


def _composed(*words: str) -> DictConfig:
    groups.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir())):
        return compose("train", list(words)).tracking


def test_what_the_options_of_the_group_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (_composed().uri, _composed().experiment) == (None, None)
    monkeypatch.setenv(URI, "http://host:1")
    assert _composed("tracking=server").uri == "http://host:1"
    assert _composed("tracking=server", "tracking.uri=http://other:2").uri == "http://other:2"
    assert _composed("tracking=sqlite").uri == "sqlite:///mlflow.db"


def test_a_server_without_an_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tracking=server", "data.root=x"]) == 2
    assert f"Environment variable '{URI}' not found" in capsys.readouterr().err
    assert not (tmp_path / "mlflow.db").exists()


def test_addresses_are_shown_without_their_passwords() -> None:
    assert shown(f"http://ann:{SECRET}@host:1/a") == "http://ann@host:1/a"
    assert shown("postgresql+psycopg://u@h/db") == "postgresql+psycopg://u@h/db"
    assert SECRET not in shown(f"postgresql://h/db?user=u&password={SECRET}&x=1")
    assert shown("http://host:5000/a") == "http://host:5000/a"


def test_no_password_is_kept(
    nobody: str,
    store_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    word = f"tracking.uri={nobody}"
    config = OmegaConf.create({"hydra": {"overrides": {"task": [word], "hydra": []}}})
    command = command_line(config)
    connection = connect(nobody, "secrets", tmp_path, offline=True)
    run = start_run(
        connection, "job", tags={"hyperspec.command": word}, params={"tracking.uri": nobody}
    )
    run.log_dict({"uri": nobody}, "config.yaml")
    run.set_tags({"hyperspec.overrides": word})
    run.finish()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"tracking.uri=http://ann@127.0.0.1" in kept
    for text in (kept.decode(), caplog.text, command, str(run.name)):
        assert SECRET not in text
    # What is kept without its password is known again by one that has it.
    assert not send_outbox(connection.outbox, only=store_uri).waiting
    (waiting,) = send_outbox(connection.outbox, only=nobody).waiting
    assert SECRET not in waiting.reason
    assert len(send_outbox(connection.outbox, uri=store_uri).sent) == 1
    assert waiting_runs(connection.outbox) == []
