"""Open a tracking store: absolute addresses, and a first creation that does not race.

MLflow creates its tables on first use. Several processes that do so at once crash ("duplicate
column name"), and so do several that create one experiment. Here the first creation happens under
a file lock; later openings see the experiment's row and take no lock.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from filelock import FileLock

from hyperspec.spectra.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

_SQLITE = "sqlite:///"
_SERVERS = ("http", "https", "postgresql", "mysql", "mssql")
_KNOCK_SECONDS = 10.0
_LOCK_SECONDS = 120.0  # creating the tables takes about 2 s; 16 waiting processes stay below it


@dataclass(frozen=True)
class Connection:
    """An open store and the experiment in it that runs go to."""

    client: MlflowClient
    uri: str
    experiment: str
    experiment_id: str


def resolve_uri(uri: str, base: Path | None = None) -> str:
    """Return the address with an absolute path, since a relative one makes a store per folder.

    Args:
        uri: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, a path that ends in ``.db``, or
            the address of a server.
        base: Folder that relative paths start from; the current one by default.

    Raises:
        TrackingError: If the address is of a kind that cannot hold runs.
    """
    text = uri.strip()
    if text.startswith(_SQLITE):
        path = text.removeprefix(_SQLITE)
    elif text.endswith(".db") and "://" not in text:
        path = text
    else:
        path = ""
    if path and path != ":memory:":
        absolute = (base or Path.cwd()) / Path(path).expanduser()
        return f"{_SQLITE}{Path(os.path.abspath(absolute))}"
    if urlsplit(text).scheme.split("+")[0] in _SERVERS:
        return text
    raise TrackingError(
        f"tracking.uri={uri} cannot hold runs: MLflow's folder store is closed to new runs, and a "
        "store in memory ends with its process. Use tracking.uri=sqlite:///mlflow.db for a file, "
        "or http://host:port for a tracking server."
    )


def database_path(uri: str) -> Path | None:
    """Return the file behind a SQLite address, or None for a server."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def artifact_root(uri: str) -> Path | None:
    """Return the folder beside a SQLite file that holds its artifacts, or None for a server."""
    database = database_path(uri)
    return None if database is None else database.parent / f"{database.stem}_artifacts"


def open_client(uri: str) -> MlflowClient:
    """Return an MLflow client for an absolute address, without telemetry and migration chatter.

    Raises:
        TrackingError: If the store cannot be opened; the message names it.
    """
    # Set before the import: MLflow otherwise reports usage to its makers over the network.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    database = database_path(uri)
    if database is not None:
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrackingError(
                f"tracking.uri={uri}: the folder {database.parent} cannot be made ({error}). "
                "Choose another place with tracking.uri=sqlite:////folder/mlflow.db."
            ) from error
    elif uri.startswith("http"):
        _knock(uri)
    try:
        return MlflowClient(tracking_uri=uri)
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise TrackingError(
            f"tracking.uri={uri} cannot be opened ({_first_line(error)}). Check the address, or "
            "choose another store, for example tracking.uri=sqlite:///mlflow.db."
        ) from error


def connect(uri: str, experiment: str, base: Path | None = None) -> Connection:
    """Open the store and the experiment, creating both at first use.

    Args:
        uri: See :func:`resolve_uri`.
        experiment: Name of the experiment.
        base: Folder that a relative path in ``uri`` starts from.

    Raises:
        TrackingError: If the address is unusable or the experiment was deleted.
    """
    address = resolve_uri(uri, base)
    if _experiment_in_file(address, experiment):
        client = open_client(address)
        return Connection(client, address, experiment, _get_or_create(client, address, experiment))
    with FileLock(_lock_path(address), timeout=_LOCK_SECONDS):
        client = open_client(address)
        return Connection(client, address, experiment, _get_or_create(client, address, experiment))


def _knock(uri: str) -> None:
    """Ask a tracking server whether it is there; MLflow's own client retries for minutes.

    Raises:
        TrackingError: If it does not answer.
    """
    try:
        urlopen(f"{uri.rstrip('/')}/health", timeout=_KNOCK_SECONDS).close()
    except HTTPError as error:
        # It answers, if only to ask for credentials, which MLflow's client knows from its
        # environment.
        error.close()
    except (OSError, HTTPException, ValueError) as error:
        raise TrackingError(
            f"tracking.uri={uri} does not answer ({_first_line(error)}). Start the server, check "
            "the address, or keep runs in a file with tracking.uri=sqlite:///mlflow.db."
        ) from error


def _get_or_create(client: MlflowClient, uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found: Experiment | None = client.get_experiment_by_name(name)
    if found is None:
        root = artifact_root(uri)
        location = None if root is None else (root / _slug(name)).as_uri()
        try:
            # The kind opens the UI on training runs instead of on chat traces.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return str(client.create_experiment(name, artifact_location=location, tags=kind))
        except MlflowException as error:
            # On a server another machine may have been quicker; the file lock is local.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise TrackingError(
                    f"tracking.experiment={name} cannot be created in {uri} "
                    f"({_first_line(error)}). Choose another name."
                ) from error
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"tracking.experiment={name} was deleted in {uri}. Choose another name, or bring it "
            f"back with: MLFLOW_TRACKING_URI={uri} mlflow experiments restore "
            f"--experiment-id {found.experiment_id}"
        )
    return str(found.experiment_id)


def _experiment_in_file(uri: str, name: str) -> bool:
    """Say whether a SQLite file already holds the experiment, without importing MLflow.

    The row is written after all tables, so that its presence means that creation is over.
    """
    database = database_path(uri)
    if database is None or not database.exists():
        return False
    query = "SELECT 1 FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query, (name,)).fetchone() is not None
    except sqlite3.Error:
        return False  # tables not there yet, or locked by their creator: take the locked road


def _lock_path(uri: str) -> Path:
    database = database_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        return database.with_name(f".{database.name}.lock")
    digest = hashlib.blake2b(uri.encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"hyperspec-tracking-{digest}.lock"


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "experiment"


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
