"""A real tracking server that asks for a name and a password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_server import mlflow_server

from hyperspec.cli.train import main
from hyperspec.tracking.client import connect
from hyperspec.tracking.run import start_run
from hyperspec.utils.errors import TrackingError

pytestmark = pytest.mark.slow
pytest.importorskip("flask_wtf", reason="mlflow's basic-auth server needs flask-wtf")

USER, PASSWORD = "admin", "a-long-password-1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("auth")
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/users.db\n"
        f"admin_username = {USER}\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {"MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini")}
    environment |= {"MLFLOW_FLASK_SERVER_SECRET_KEY": "any"}
    words = ("--app-name", "basic-auth")
    store = f"sqlite:///{folder}/mlflow.db"
    with mlflow_server(folder, store, *words, environment=environment) as address:
        yield address


def test_the_environment_names_who_asks(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    connection = connect(server, "e", tmp_path)
    run = start_run(connection, "job")
    run.log_text("x", "x.txt")
    run.finish()
    (found,) = connection.search()
    assert found.status == "FINISHED"
    assert [one.path for one in connection.client.list_artifacts(found.run_id)] == ["x.txt"]


def test_an_address_may_name_who_asks(server: str, tmp_path: Path) -> None:
    address = server.replace("://", f"://{USER}:{PASSWORD}@")
    run = start_run(connect(address, "in address", tmp_path), "job")
    run.finish()
    assert run.stored_id is not None
    assert not list((tmp_path / ".hyperspec/outbox").iterdir())


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_wrong_password_is_one_sentence(
    server: str, password: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if password:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    with pytest.raises(TrackingError) as caught:
        connect(server, "e", tmp_path, offline=True)
    assert str(caught.value).startswith(f"tracking.uri={server} refuses who asks (status 401).")
    assert "MLFLOW_TRACKING_USERNAME" in str(caught.value)


def test_a_sweep_with_a_wrong_password_does_not_begin(
    server: str,
    small_specimens: Path,
    packed: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    address = server.replace("://", f"://{USER}:wrong@")
    words = ["experiment=demo", "bands.n=5,6", "data.size=16", f"data.root={small_specimens}"]
    words += [f"data.cache_dir={packed}", f"tracking.uri={address}"]
    assert main(["-m", *words]) == 2
    said = capsys.readouterr().err
    assert "refuses who asks (status 401)" in said
    assert "Traceback" not in said
    assert "wrong@" not in said
