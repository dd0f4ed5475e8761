"""Tell a store that is in trouble from one that refuses, and wait for it with growing pauses."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from hyperspec.utils.errors import TrackingError
from hyperspec.utils.text import without_secrets

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

log = logging.getLogger(__name__)

T = TypeVar("T")

REQUEST_SECONDS = 10  # longest wait for one answer of a server
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0  # between two tries, seconds
_REFUSALS = {"INVALID_PARAMETER_VALUE", "RESOURCE_ALREADY_EXISTS"}
_TROUBLE = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
_TROUBLE |= {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}
# What PostgreSQL, SQLite, MySQL and SQL Server say when another writer was first with a row.
_SAME_ROW = ("duplicate key", "unique constraint failed", "duplicate entry")


class UnreachableError(TrackingError):
    """The store does not answer, or answers that it cannot now. Later it may."""


class NotYetError(UnreachableError):
    """The store answers, but what is sent belongs to something that was deleted or is not sent.

    Once that is there again it can go; until then nothing is gained by asking again.
    """


def bound_requests() -> None:
    """Keep MLflow's own client from waiting for minutes; words of the environment win.

    It tries each request once: a creation tried again after a lost answer would be made twice.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what MLflow raises into a :class:`TrackingError`, for code that does not know MLflow."""
    try:
        yield
    except Exception as error:
        # Imported here: a SQLite file is read without it.
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException):
            raise
        raise TrackingError(first_line(error)) from error


def is_trouble(error: BaseException) -> bool:
    """Say whether an error is the store's trouble of the moment, not a fault of what was asked."""
    if isinstance(error, NotYetError):
        return False
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import DBAPIError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    if isinstance(error, MlflowException):
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        # "API request to ... failed": MLflow wraps what the network says.
        answered = error.error_code in _TROUBLE or status in (408, 429) or status >= 500
        answered = answered or _wrote_the_same(error)
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
    """Return the first line of an error's text, at most 300 characters, without passwords."""
    text = str(error).strip() or type(error).__name__
    return without_secrets(text.splitlines()[0])[:300]


def _wrote_the_same(error: MlflowException) -> bool:
    """Say whether another process made the same row (a tag) first: asked again, it is changed."""
    text = str(error).lower()
    return error.error_code == "BAD_REQUEST" and any(words in text for words in _SAME_ROW)


def _caused_by(error: BaseException, *kinds: type[BaseException]) -> bool:
    found: BaseException | None = error.__cause__ or error.__context__
    while found is not None:
        if isinstance(found, kinds):
            return True
        found = found.__cause__ or found.__context__
    return False
