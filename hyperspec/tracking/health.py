"""What can be seen of a store without MLflow: whether it answers, is locked, has an experiment."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from hyperspec.tracking.retry import UnreachableError, first_line
from hyperspec.utils.errors import TrackingError

SQLITE = "sqlite:///"
_KNOCK_SECONDS = 5.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def database_path(uri: str) -> Path | None:
    """Return the file behind a SQLite address, or None for a server."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


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


def knock(uri: str) -> None:
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


def has_experiment(uri: str, name: str) -> bool:
    """Say whether a database already holds the experiment, without MLflow's own store.

    The row is written after all tables, so that its presence means that creation is over.
    """
    database = database_path(uri)
    if database is None:
        return _experiment_in_server(uri, name)
    if not database.exists():
        return False
    query = "SELECT 1 FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query, (name,)).fetchone() is not None
    except sqlite3.Error:
        return False  # tables not there yet, or locked by their creator: take the locked road


def _experiment_in_server(uri: str, name: str) -> bool:
    """Say whether a database server already holds the experiment.

    Raises:
        UnreachableError: If the server does not answer.
    """
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    knock(uri)
    query = "SELECT 1 FROM experiments WHERE name = :name AND lifecycle_stage = 'active'"
    try:
        with create_engine(uri, poolclass=NullPool).connect() as connection:
            return connection.execute(text(query), {"name": name}).first() is not None
    except (SQLAlchemyError, ImportError):
        return False  # no tables yet, or a trouble that opening the store puts into words
