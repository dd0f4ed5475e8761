"""What can be seen of a store without MLflow: where it lies, whether it answers or is locked."""

from __future__ import annotations

import hashlib
import logging
import socket
import sqlite3
import tempfile
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname, urlopen

from hyperspec.tracking.retry import UnreachableError, first_line
from hyperspec.utils.errors import TrackingError
from hyperspec.utils.text import without_secrets

log = logging.getLogger(__name__)

LOCKED_SECONDS = 60.0  # longest wait for a SQLite file that another process holds
SQLITE = "sqlite:///"
_KNOCK_SECONDS = 5.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def database_path(uri: str) -> Path | None:
    """Return the file behind a SQLite address, or None for a server."""
    if not uri.startswith(SQLITE) or uri == SQLITE:
        return None
    return Path(unquote(uri.removeprefix(SQLITE)))


def sqlite_address(database: Path) -> str:
    """Return the address of a SQLite file.

    SQLAlchemy reads ``%20`` in an address as a space, and what follows a ``?`` as options: in a
    folder of such a name, the file would come to lie somewhere else.
    """
    return f"{SQLITE}{database.as_posix().replace('%', '%25').replace('?', '%3F')}"


def typed_database(typed: str, base: Path) -> Path:
    """Return the file that a user means by what stands behind ``sqlite:///``.

    As in any address ``%20`` is a space, unless there is a folder whose name has it and none with
    the space. Relative paths start from ``base``.

    Raises:
        TrackingError: If options follow, which would be taken for a part of the name.
    """
    if "?" in Path(typed).name:
        raise TrackingError(
            f"{SQLITE}{typed}: options behind a ? are not read. Leave them out, or write %3F for a "
            "? in the file's name."
        )
    literal, meant = (base / Path(one).expanduser() for one in (typed, unquote(typed)))
    return literal if literal.parent.is_dir() and not meant.parent.is_dir() else meant


def lock_path(uri: str, what: str) -> Path:
    """Return a lock file beside a SQLite file, or one of this machine for a server."""
    database = database_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        return database.with_name(f".{database.name}.lock")
    digest = hashlib.blake2b(uri.encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"hyperspec-{what}-{digest}.lock"


def local_folder(artifacts: str) -> Path | None:
    """Return the folder behind an address of artifacts, or None for one of a server.

    MLflow keeps ``file:`` addresses, in which ``%20`` stands for a space.
    """
    parts = urlsplit(artifacts)
    if len(parts.scheme) < 2:  # one letter is a drive of Windows
        return Path(artifacts)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def default_outbox(database: Path) -> Path:
    """Return the folder beside a SQLite file that keeps what it does not have yet."""
    return database.parent / ".hyperspec" / "outbox"


def check_exists(uri: str) -> None:
    """Refuse a SQLite file that is not there: MLflow would begin an empty one in its place.

    Raises:
        TrackingError: If there is none.
    """
    database = database_path(uri)
    if database is not None and not database.exists():
        raise TrackingError(
            f"There is no tracking store at {database}: it was moved, or nothing was trained there "
            "yet. Start the command in the folder that holds mlflow.db, or name the store with "
            "--uri sqlite:////folder/mlflow.db (of train tracking.uri=...)."
        )


def shown(address: str) -> str:
    """Return an address without its password."""
    return without_secrets(address)


def is_locked(database: Path) -> bool:
    """Say whether another process holds a SQLite file so that it cannot be read."""
    try:
        _ask(database, "SELECT name FROM sqlite_master LIMIT 1")
    except sqlite3.Error as error:
        return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
    return False


def read_only(database: Path, seconds: float = 5.0) -> sqlite3.Connection:
    """Open a SQLite file for reading; one that another process holds is waited for so long."""
    return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=seconds)


def _ask(database: Path, query: str, *values: str) -> object:
    with closing(read_only(database)) as connection:
        return connection.execute(query, values).fetchone()


def knock(uri: str) -> None:
    """Ask a server whether it is there; MLflow's own client retries for minutes.

    Raises:
        UnreachableError: If it does not answer.
        TrackingError: If the address is none.
    """
    try:
        parts = urlsplit(uri)
        if uri.startswith("http"):
            bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
            health = f"{bare.rstrip('/')}/health"  # never file:, which begins otherwise
            urlopen(health, timeout=_KNOCK_SECONDS).close()  # noqa: S310
            return
        port = parts.port or _PORTS.get(parts.scheme.split("+")[0])
        if parts.hostname and port:
            socket.create_connection((parts.hostname, port), _KNOCK_SECONDS).close()
    except HTTPError as error:
        # It answers, if only to ask for credentials, which MLflow's client knows from its
        # environment.
        error.close()
    except (ValueError, HTTPException) as error:
        raise TrackingError(
            f"tracking.uri={shown(uri)} does not answer ({first_line(error)}). Check the address."
        ) from error
    except OSError as error:
        raise UnreachableError(
            f"tracking.uri={shown(uri)} does not answer ({first_line(error)}). Start the server, "
            "check the address, or keep runs in a file with tracking.uri=sqlite:///mlflow.db."
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
        return _ask(database, query, name) is not None
    except sqlite3.Error:
        return False  # tables not there yet, or locked by their creator: take the locked road


def _experiment_in_server(uri: str, name: str) -> bool:
    """Say whether a database server, which must answer, already holds the experiment."""
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    knock(uri)
    query = "SELECT 1 FROM experiments WHERE name = :name AND lifecycle_stage = 'active'"
    try:
        with create_engine(uri, poolclass=NullPool).connect() as connection:
            return connection.execute(text(query), {"name": name}).first() is not None
    except (SQLAlchemyError, ImportError):
        return False  # no tables yet, or a trouble that opening the store puts into words
