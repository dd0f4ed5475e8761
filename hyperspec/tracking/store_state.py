"""Whether a store answers, is locked, in trouble or refuses; and waiting for it."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from hyperspec.utils.errors import TrackingError

log = logging.getLogger(__name__)

T = TypeVar("T")

REQUEST_SECONDS = 10  # longest wait for one answer of a server
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0  # between two tries, seconds
LOCKED_SECONDS = 60.0  # longest wait for a SQLite file that another process holds
_REFUSALS = {"INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS"}
_TROUBLE = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
_TROUBLE |= {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}
SQLITE = "sqlite:///"
_KNOCK_SECONDS = 5.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


class UnreachableError(TrackingError):
    """The store does not answer, or answers that it cannot now. Later it may."""


def bound_requests() -> None:
    """Keep MLflow's own client from waiting for minutes; words of the environment win.

    It tries each request once: a creation tried again after a lost answer would be made twice.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what MLflow raises into a :class:`TrackingError`, for code that does not know MLflow."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise TrackingError(first_line(error)) from error


def is_trouble(error: BaseException) -> bool:
    """Say whether an error is the store's trouble of the moment, not a fault of what was asked."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import DBAPIError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    if isinstance(error, MlflowException):
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        # "API request to ... failed": MLflow wraps what the network says.
        answered = error.error_code in _TROUBLE or status in (408, 429) or status >= 500
        return answered or _caused_by(error, RequestException, OSError)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    kinds = (RequestException, OperationalError, PoolTimeoutError, sqlite3.OperationalError)
    return isinstance(error, (*kinds, OSError, UnreachableError))


def is_refusal(error: BaseException) -> bool:
    """Say whether the store will never take what it was given."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.error_code in _REFUSALS


def retry(
    call: Callable[[], T],
    seconds: float,
    *,
    is_trouble: Callable[[Exception], bool],
    waits: Callable[[Exception], object],
    gives_up: Callable[[Exception], Exception],
    pauses: tuple[float, float] = (FIRST_PAUSE, LONGEST_PAUSE),
) -> T:
    """Return what a call returns, made again after growing pauses from the first to the longest.

    ``is_trouble`` says which errors may pass; others are raised at once. ``waits`` is told of the
    first trouble, and ``gives_up`` makes of the last one what is raised after so many seconds; 0
    tries once.
    """
    deadline, (pause, longest), failed = time.monotonic() + seconds, pauses, False
    while True:
        try:
            return call()
        except Exception as error:
            if not is_trouble(error):
                raise
            left = deadline - time.monotonic()
            if left <= 0:
                last = gives_up(error)
                if last is error:
                    raise
                raise last from error
            if not failed:
                waits(error)
            failed = True
        time.sleep(min(pause, max(left, 0.01)))
        pause = min(2 * pause, longest)


def retry_store(call: Callable[[], T], seconds: float, what: str) -> T:
    """Call until the store answers, with growing pauses; again only after :func:`is_trouble`.

    Trouble is raised after so many ``seconds``, 0 tries once; ``what`` names the store then.

    Raises:
        UnreachableError: If the trouble lasts.
    """

    def waits(error: Exception) -> None:
        log.warning("%s is in trouble (%s); waiting for it", what, first_line(error))

    def gives_up(error: Exception) -> Exception:
        if isinstance(error, UnreachableError):
            return error
        return UnreachableError(f"{what} does not answer ({first_line(error)}).")

    return retry(call, seconds, is_trouble=is_trouble, waits=waits, gives_up=gives_up)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, at most 300 characters."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def _caused_by(error: BaseException, *kinds: type[BaseException]) -> bool:
    found: BaseException | None = error.__cause__ or error.__context__
    while found is not None:
        if isinstance(found, kinds):
            return True
        found = found.__cause__ or found.__context__
    return False


def database_path(uri: str) -> Path | None:
    """Return the file behind a SQLite address, or None for a server."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) and uri != SQLITE else None


def lock_path(uri: str, what: str) -> Path:
    """Return a lock file beside a SQLite file, or one of this machine for a server."""
    database = database_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        return database.with_name(f".{database.name}.lock")
    digest = hashlib.blake2b(uri.encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"hyperspec-{what}-{digest}.lock"


def shown(address: str) -> str:
    """Return an address without its password."""
    scheme, mark, rest = address.partition("://")
    account, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{account.partition(':')[0]}{at}{place}"


def is_locked(database: Path) -> bool:
    """Say whether another process holds a SQLite file so that it cannot be read."""
    try:
        _ask(database, "SELECT name FROM sqlite_master LIMIT 1")
    except sqlite3.Error as error:
        return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
    return False


def _ask(database: Path, query: str, *values: str) -> object:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchone()


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
