"""A study's database that may be locked or away for a while: calls wait, and nothing is lost.

Optuna's own storage gives up at the first refusal, which costs a search its controller. Each call
to the database is one transaction, so that a refused one can be made again as it is.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.pool import NullPool

from hyperspec.utils.errors import TrackingError

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0
_LOCK_KEY = 4_850_116_301  # of the advisory lock; any number that nobody else takes
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
# The calls that reach the database, those behind Optuna's own cache included.
_CALLS = (
    "create_new_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "_create_new_trial",
    "_set_trial_param",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial_id_from_study_id_trial_number",
    "get_trial",
    "_get_trials",
    "_get_best_trial_id",
)


class PatientStorage(RDBStorage):
    """Optuna's database storage whose calls are repeated until the database answers.

    Args:
        address: Absolute SQLAlchemy address.
        patience: Seconds after which a call gives up.

    Raises:
        TrackingError: If the database does not answer for that long, at any call.
    """

    def __init__(self, address: str, patience: float = PATIENCE_SECONDS) -> None:
        self.patience = patience
        self._inside = threading.local()
        options: dict[str, Any] = {"pool_pre_ping": True}
        if sqlite_path(address) is not None:
            # SQLite waits by itself too, in silence; what is longer than that is told.
            options = {"connect_args": {"timeout": min(5.0, patience / 20)}}
        open_it = functools.partial(super().__init__, address, options)
        _repeat(open_it, shown(address), patience, lambda: None)

    def wait(self, call: Callable[[], Any]) -> Any:
        """Make a call until the database answers; calls inside of a call are part of it."""
        if getattr(self._inside, "busy", False):
            return call()
        self._inside.busy = True
        try:
            return _repeat(call, shown(self.url), self.patience, self._forget)
        finally:
            self._inside.busy = False

    def _forget(self) -> None:
        """Drop connections that may be dead; wait for a SQLite file that was moved away.

        Connecting to it would put an empty database in its place.
        """
        self.engine.dispose()
        path = sqlite_path(self.url)
        if path is not None and not path.exists():
            raise OperationalError("connect", None, FileNotFoundError(str(path)))


def _patient(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        tries = 0

        def once() -> Any:
            nonlocal tries
            tries += 1
            try:
                return original(self, *args, **kwargs)
            except UpdateFinishedTrialError:
                if tries == 1:
                    raise
                return True  # the first try was written, and only its answer was lost

        return self.wait(once)

    return call


for _name in _CALLS:
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))


def _repeat(
    call: Callable[[], Any], place: str, patience: float, before: Callable[[], None]
) -> Any:
    """Make a call, after ``before`` when it was refused, with growing waits in between."""
    started, wait, refused = time.monotonic(), _FIRST_WAIT, False
    while True:
        try:
            if refused:
                before()
            result = call()
        except (StorageInternalError, OperationalError, InterfaceError) as error:
            if not _is_refusal(error):
                raise
            waited = time.monotonic() - started
            if waited >= patience:
                raise TrackingError(
                    f"The study's database {place} has not answered for {waited:.0f} seconds "
                    f"({_cause(error)}). What jobs have finished is kept with their runs; give the "
                    "same command again when the database is back."
                ) from error
            if not refused:
                log.warning("the study's database %s is away: %s; waiting", place, _cause(error))
            refused = True
            time.sleep(min(wait, max(0.0, patience - waited)))
            wait = min(2 * wait, _LONGEST_WAIT)
        else:
            if refused:
                log.warning("the study's database is back after %.1f s", time.monotonic() - started)
            return result


def _is_refusal(error: BaseException) -> bool:
    """Say whether the database could not be used, in contrast to a wrong call."""
    if isinstance(error, StorageInternalError):
        return isinstance(error.__cause__, OperationalError | InterfaceError)
    return True


def _cause(error: BaseException) -> str:
    inner = error.__cause__ if isinstance(error, StorageInternalError) else error
    text = str(getattr(inner, "orig", None) or inner or error)
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__


def shown(address: str) -> str:
    """Return an address without its password."""
    scheme, mark, rest = address.partition("://")
    account, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{account.partition(':')[0]}{at}{place}"


def sqlite_path(address: str) -> Path | None:
    """Return the file of a SQLite address, or None for another database."""
    path = address.removeprefix("sqlite:///")
    return Path(path) if path != address and path else None


def open_storage(address: str, *, fresh: bool, patience: float = PATIENCE_SECONDS) -> RDBStorage:
    """Open a study's database.

    Args:
        address: Absolute address.
        fresh: Whether it may be begun; otherwise a missing SQLite file is waited for.
        patience: Seconds after which opening and each call give up.

    Raises:
        TrackingError: If it does not answer for that long.
    """
    path = sqlite_path(address)

    def look() -> None:
        if not fresh and path is not None and not path.exists():
            raise OperationalError("connect", None, FileNotFoundError(f"no file {path}"))

    _repeat(look, shown(address), patience, lambda: None)
    return PatientStorage(address, patience)


@contextlib.contextmanager
def database_lock(address: str, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold a lock of a PostgreSQL database, which ends with the connection that holds it.

    Several addresses may lead to one database, so that the lock has the same key in each.

    Args:
        address: SQLAlchemy address.
        patience: Seconds after which an unreachable database is given up; who holds the lock is
            waited for without a limit.

    Raises:
        TrackingError: If the database does not answer for that long.
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

    connection = _repeat(take, shown(address), patience, lambda: None)
    try:
        yield
    finally:
        connection.close()  # and with it the session, whose lock goes
