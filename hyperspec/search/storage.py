"""A study's database that may be locked or away for a while: calls wait, and nothing is lost.

Optuna's own storage gives up at the first refusal, which costs a search its controller. Each call
to the database is one transaction, so that a refused one can be made again as it is.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from abc import ABCMeta
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.pool import NullPool

from hyperspec.search.optuna_internals import cached
from hyperspec.tracking.database import check_study_database
from hyperspec.tracking.health import (
    SQLITE,
    database_path,
    shown,
    sqlite_address,
    typed_database,
)
from hyperspec.tracking.retry import retry
from hyperspec.utils.errors import TrackingError

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0
_LOCK_KEY = 4_850_116_301  # of the advisory lock; any number that nobody else takes
_PAUSES = 0.1, 5.0  # between two tries, the first and the longest, seconds


class _Waiting:
    """Makes each call to a database until that answers."""

    def __init__(self, database: RDBStorage, patience: float) -> None:
        self._database, self._patience = database, patience
        self._cached = cached(database)

    def wait(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Make a call of Optuna's storage."""
        call = functools.partial(getattr(self._cached, name), *args, **kwargs)
        return _repeat(call, self._database.url, self._patience, self._forget)

    def _forget(self) -> None:
        """Drop connections that may be dead; wait for a SQLite file that was moved away.

        Connecting to it would put an empty database in its place.
        """
        self._database.engine.dispose()
        _find_file(self._database.url)


def _waits(name: str) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: self.wait(name, *args, **kwargs)


# Optuna's storage interface, all of it: a call that a later version adds is waited for too.
_CALLS = {name: _waits(name) for name in vars(BaseStorage) if not name.startswith("_")}
_PatientStorage: Any = ABCMeta("_PatientStorage", (_Waiting, BaseStorage), _CALLS)


def _repeat(
    call: Callable[[], Any],
    address: str,
    patience: float,
    before: Callable[[], None] = lambda: None,
) -> Any:
    """Make a call, after ``before`` when it was refused, with growing waits in between."""
    started, refused, place = time.monotonic(), False, shown(address)

    def attempt() -> Any:
        if not refused:
            return call()
        before()
        try:
            result = call()
        except UpdateFinishedTrialError:
            result = True  # an earlier try was written, and only its answer was lost
        log.warning("the study's database is back after %.1f s", time.monotonic() - started)
        return result

    def waits(error: Exception) -> None:
        nonlocal refused
        refused = True
        log.warning("the study's database %s is away: %s; waiting", place, _cause(error))

    def gives_up(error: Exception) -> Exception:
        return TrackingError(
            f"The study's database {place} has not answered for {time.monotonic() - started:.0f} "
            f"seconds ({_cause(error)}). What jobs have finished is kept with their runs; give the "
            "same command again when the database is back."
        )

    return retry(
        attempt, patience, is_trouble=_is_refusal, waits=waits, gives_up=gives_up, pauses=_PAUSES
    )


def _is_refusal(error: BaseException | None) -> bool:
    """Say whether the database could not be used, in contrast to a wrong call."""
    if isinstance(error, StorageInternalError):
        error = error.__cause__
    return isinstance(error, OperationalError | InterfaceError)


def _cause(error: BaseException) -> str:
    inner = error.__cause__ if isinstance(error, StorageInternalError) else error
    text = str(getattr(inner, "orig", None) or inner or error)
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__


def absolute_storage(storage: Any, cwd: Path, sweep_dir: Path) -> str:
    """Return the storage's address; a relative SQLite file starts at the command's folder."""
    if storage is None:
        return sqlite_address(cwd / sweep_dir / "optuna.db")
    address = str(storage)
    if database_path(address) is None:
        return address
    return sqlite_address(typed_database(address.removeprefix(SQLITE), cwd))


def open_storage(address: str, *, fresh: bool, patience: float = PATIENCE_SECONDS) -> BaseStorage:
    """Open a study's database; its calls are repeated until it answers.

    A ``fresh`` one may be begun; otherwise a missing SQLite file is waited for.

    Raises:
        TrackingError: If it does not answer for ``patience`` seconds, now or at any call, or is not
            one of Optuna's.
    """
    check_study_database(address)
    options: dict[str, Any] = {"pool_pre_ping": True}
    if database_path(address) is not None:
        # SQLite waits by itself too, in silence; what is longer than that is told.
        options = {"connect_args": {"timeout": min(5.0, patience / 20)}}

    def connect() -> RDBStorage:
        if not fresh:
            _find_file(address)
        try:
            return RDBStorage(address, options)
        except RuntimeError as error:  # tables of another version of Optuna
            raise TrackingError(f"hydra.sweeper.storage={shown(address)}: {error}") from error

    made: BaseStorage = _PatientStorage(_repeat(connect, address, patience), patience)
    return made


def _find_file(address: str) -> None:
    """Refuse, as a database does that is away, when the file of a SQLite address is missing."""
    path = database_path(address)
    if path is not None and not path.exists():
        raise OperationalError("connect", None, FileNotFoundError(f"no file {path}"))


@contextlib.contextmanager
def database_lock(address: str, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold a lock of a PostgreSQL database, which ends with the connection that holds it.

    Several addresses may lead to one database, so that the lock has the same key in each. Who holds
    the lock is waited for without a limit.

    Raises:
        TrackingError: If the database does not answer for ``patience`` seconds.
    """
    engine = create_engine(address, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def take() -> Connection:
        connection = engine.connect()
        try:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
        except BaseException:
            connection.close()
            raise
        return connection

    connection = _repeat(take, address, patience)
    try:
        yield
    finally:
        connection.close()  # and with it the session, whose lock goes
