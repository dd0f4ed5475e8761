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
import socket
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from filelock import FileLock

from hyperspec.spectra.errors import TrackingError
from hyperspec.tracking.patience import (
    LOCKED_SECONDS,
    UnreachableError,
    bound_requests,
    first_line,
    patiently,
)

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

T = TypeVar("T")

_SQLITE = "sqlite:///"
_SERVERS = ("http", "https", "postgresql", "mysql", "mssql")
_KNOCK_SECONDS = 5.0
_ASK_SECONDS = 3.0  # for an answer of a server that is in trouble
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_LOCK_SECONDS = 120.0  # creating the tables takes about 2 s; 16 waiting processes stay below it


class Connection:
    """A store and the experiment in it that runs go to; either may be out of reach for a while.

    Args:
        uri: Absolute address.
        experiment: Name of the experiment.
        outbox: Folder that keeps what runs have to say until the store has it.
    """

    def __init__(self, uri: str, experiment: str, outbox: Path) -> None:
        self.uri, self.experiment, self.outbox = uri, experiment, outbox
        self.experiment_id = ""
        self._client: MlflowClient | None = None

    @property
    def offline(self) -> bool:
        """Whether the store has never been reached."""
        return not self.experiment_id

    @property
    def shown_uri(self) -> str:
        """The address without its password."""
        parts = urlsplit(self.uri)
        return self.uri.replace(f":{parts.password}@", "@") if parts.password else self.uri

    @property
    def client(self) -> MlflowClient:
        """MLflow's client.

        Raises:
            UnreachableError: If the store does not answer.
        """
        if self._client is None:
            self._client = open_client(self.uri)
        return self._client

    def ask(self, call: Callable[[MlflowClient], T]) -> T:
        """Read from the store; a moment of trouble is waited for, 60 s of a locked SQLite file.

        Raises:
            UnreachableError: If the store does not answer.
        """
        seconds = LOCKED_SECONDS if database_path(self.uri) else _ASK_SECONDS
        return patiently(lambda: call(self.client), seconds, f"tracking.uri={self.shown_uri}")

    def known_experiment(self) -> str:
        """Return the experiment's identity; create the experiment at first use.

        Raises:
            UnreachableError: If the store does not answer.
            TrackingError: If the experiment was deleted.
        """
        if not self.experiment_id:
            client = self.client
            self.experiment_id = patiently(
                lambda: _get_or_create(client, self.uri, self.experiment),
                LOCKED_SECONDS if database_path(self.uri) else 0.0,
                f"tracking.uri={self.shown_uri}",
            )
        return self.experiment_id


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
        UnreachableError: If a server does not answer.
        TrackingError: If the store cannot be opened; the message names it.
    """
    # Set before the import: MLflow otherwise reports usage to its makers over the network.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It prints a traceback for every busy moment of a database; ours say it in a line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    bound_requests()
    database = database_path(uri)
    if database is not None:
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrackingError(
                f"tracking.uri={uri}: the folder {database.parent} cannot be made ({error}). "
                "Choose another place with tracking.uri=sqlite:////folder/mlflow.db."
            ) from error
    else:
        _knock(uri)
    try:
        return patiently(
            lambda: MlflowClient(tracking_uri=uri),
            LOCKED_SECONDS if database is not None and is_locked(database) else 0.0,
            f"tracking.uri={uri}",
        )
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, UnreachableError) as error:
        raise TrackingError(
            f"tracking.uri={uri} cannot be opened ({first_line(error)}). Check the address, or "
            "choose another store, for example tracking.uri=sqlite:///mlflow.db."
        ) from error


def connect(
    uri: str,
    experiment: str,
    base: Path | None = None,
    *,
    outbox: str | None = None,
    offline: bool = False,
) -> Connection:
    """Open the store and the experiment, creating both at first use.

    Args:
        uri: See :func:`resolve_uri`.
        experiment: Name of the experiment.
        base: Folder that a relative path in ``uri`` starts from.
        outbox: Folder for what the store does not have yet; see :func:`outbox_folder`.
        offline: Whether a store that does not answer will do: runs then wait in the outbox.

    Raises:
        UnreachableError: If the store does not answer and ``offline`` is false.
        TrackingError: If the address is unusable or the experiment was deleted.
    """
    address = resolve_uri(uri, base)
    connection = Connection(address, experiment, outbox_folder(address, base, outbox))
    try:
        if _experiment_in_file(address, experiment):
            connection.known_experiment()
        else:
            with FileLock(_lock_path(address), timeout=_LOCK_SECONDS):
                connection.known_experiment()
    except UnreachableError as error:
        if not offline:
            raise
        log.warning(
            "%s Training goes on without it: runs are kept in %s, and sent when it answers or by "
            "`hyperspec sync`.",
            error,
            connection.outbox,
        )
    return connection


def outbox_folder(uri: str, base: Path | None = None, given: str | None = None) -> Path:
    """Return the folder that keeps what a store does not have yet.

    It lies beside a SQLite file, and in the folder of the command for a server.

    Args:
        uri: Absolute address.
        base: Folder of the command; the current one by default.
        given: ``tracking.outbox``.
    """
    start = (base or Path.cwd()).absolute()
    if given:
        return start / Path(given).expanduser()
    database = database_path(uri)
    return (start if database is None else database.parent) / ".hyperspec" / "outbox"


def is_locked(database: Path) -> bool:
    """Say whether another process holds a SQLite file so that it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT name FROM sqlite_master LIMIT 1")
    except sqlite3.OperationalError as error:
        return "locked" in str(error)
    except sqlite3.Error:
        return False
    return False


def _knock(uri: str) -> None:
    """Ask a server whether it is there; MLflow's own client retries for minutes.

    Raises:
        UnreachableError: If it does not answer.
        TrackingError: If the address is none.
    """
    try:
        if uri.startswith("http"):
            urlopen(f"{uri.rstrip('/')}/health", timeout=_KNOCK_SECONDS).close()
            return
        parts = urlsplit(uri)
        port = parts.port or _PORTS.get(parts.scheme.split("+")[0])
        if parts.hostname and port:
            socket.create_connection((parts.hostname, port), _KNOCK_SECONDS).close()
    except HTTPError as error:
        # It answers, if only to ask for credentials, which MLflow's client knows from its
        # environment.
        error.close()
    except (ValueError, HTTPException) as error:
        raise TrackingError(
            f"tracking.uri={uri} does not answer ({first_line(error)}). Check the address."
        ) from error
    except OSError as error:
        raise UnreachableError(
            f"tracking.uri={uri} does not answer ({first_line(error)}). Start the server, check "
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
                    f"({first_line(error)}). Choose another name."
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
