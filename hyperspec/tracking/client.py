"""Open a tracking store: absolute addresses, and a first creation that does not race.

MLflow creates its tables on first use. Several processes that do so at once crash ("duplicate
column name"), and so do several that create one experiment. Here the first creation happens under
a file lock; all others see the experiment's row, before the lock or at once after taking it, and
open the store side by side.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from hyperspec.tracking import health, retry
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.health import SQLITE, database_path, sqlite_address, typed_database
from hyperspec.tracking.record import RunRecord, search_runs
from hyperspec.tracking.retry import UnreachableError, first_line
from hyperspec.utils.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

T = TypeVar("T")

_SERVERS = ("http", "https", "postgresql", "mysql", "mssql")
_ASK_SECONDS = 3.0  # for an answer of a server that is in trouble
_LOCK_SECONDS = 120.0  # for the one that creates the tables: 2 s, 60 s on a machine in trouble


class Connection:
    """A store and the experiment in it that runs go to; either may be out of reach for a while.

    The outbox is the folder that keeps what runs have to say until the store has it.
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
        return health.shown(self.uri)

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
        seconds = health.LOCKED_SECONDS if database_path(self.uri) else _ASK_SECONDS
        place = f"tracking.uri={self.shown_uri}"
        return retry.retry_store(lambda: call(self.client), seconds, place)

    def search(self, *conditions: str, limit: int | None = None) -> list[RunRecord]:
        """Return the experiment's runs that meet all conditions, the newest first.

        Raises:
            UnreachableError: If the store does not answer.
        """
        return self.ask(
            lambda client: search_runs(client, [self.known_experiment()], conditions, limit=limit)
        )

    def known_experiment(self) -> str:
        """Return the experiment's identity; create the experiment at first use.

        Raises:
            UnreachableError: If the store does not answer.
            TrackingError: If the experiment was deleted.
        """
        if not self.experiment_id:
            client = self.client
            self.experiment_id = retry.retry_store(
                lambda: _get_or_create(client, self.uri, self.experiment),
                health.LOCKED_SECONDS if database_path(self.uri) else 0.0,
                f"tracking.uri={self.shown_uri}",
            )
        return self.experiment_id


def resolve_uri(uri: str, base: Path | None = None) -> str:
    """Return the address with an absolute path, since a relative one makes a store per folder.

    It is ``sqlite:///relative.db``, ``sqlite:////absolute.db``, a path that ends in ``.db``, or the
    address of a server. Relative paths start from ``base``, the current folder by default.

    Raises:
        TrackingError: If the address is of a kind that cannot hold runs.
    """
    text = uri.strip()
    start, absolute = base or Path.cwd(), None
    if text.startswith(SQLITE) and text.removeprefix(SQLITE) not in ("", ":memory:"):
        absolute = typed_database(text.removeprefix(SQLITE), start)
    elif text.endswith(".db") and "://" not in text:
        absolute = start / Path(text).expanduser()
    if absolute is not None:
        return sqlite_address(Path(os.path.abspath(absolute)))
    if urlsplit(text).scheme.split("+")[0] in _SERVERS:
        return text
    raise TrackingError(
        f"tracking.uri={uri} cannot hold runs: MLflow's folder store is closed to new runs, and a "
        "store in memory ends with its process. Use tracking.uri=sqlite:///mlflow.db for a file, "
        "or http://host:port for a tracking server."
    )


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
    retry.bound_requests()
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
        health.knock(uri)
    locked = database is not None and health.is_locked(database)
    seconds, place = health.LOCKED_SECONDS if locked else 0.0, f"tracking.uri={uri}"
    try:
        with _no_second_folder(uri):
            return retry.retry_store(lambda: MlflowClient(tracking_uri=uri), seconds, place)
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, UnreachableError) as error:
        raise TrackingError(
            f"tracking.uri={uri} cannot be opened ({first_line(error)}). Check the address, or "
            "choose another store, for example tracking.uri=sqlite:///mlflow.db."
        ) from error


@contextlib.contextmanager
def _no_second_folder(uri: str) -> Iterator[None]:
    """Remove the folder that MLflow makes for a name such as ``a%2520b``, which means ``a%20b``."""
    database = database_path(uri)
    literal = None if database is None else Path(uri.removeprefix(SQLITE)).parent
    extra = literal if database is not None and literal != database.parent else None
    was_there = extra is None or extra.exists()
    try:
        yield
    finally:
        if extra is not None and not was_there:
            with contextlib.suppress(OSError):  # it holds something by now, or was not made
                os.removedirs(extra)


def connect(
    uri: str,
    experiment: str,
    base: Path | None = None,
    *,
    outbox: str | None = None,
    offline: bool = False,
) -> Connection:
    """Open the store and the experiment, creating both at first use.

    A relative path in ``uri`` starts from ``base``, see :func:`resolve_uri`; for ``outbox`` see
    :func:`outbox_folder`. With ``offline`` a store that does not answer will do: runs then wait in
    the outbox.

    Raises:
        UnreachableError: If the store does not answer and ``offline`` is false.
        TrackingError: If the address is unusable or the experiment was deleted.
    """
    address = resolve_uri(uri, base)
    connection = Connection(address, experiment, outbox_folder(address, base, outbox))
    try:
        # A tracking server makes its tables at its own start.
        if not address.startswith("http") and not health.has_experiment(address, experiment):
            _create_alone(connection)
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
    """Return the folder that keeps what a store does not have yet: as ``given`` by the config.

    By default it lies beside a SQLite file, and in the folder of the command for a server.
    """
    start = (base or Path.cwd()).absolute()
    if given:
        return start / Path(given).expanduser()
    database = database_path(uri)
    return (start if database is None else database.parent) / ".hyperspec" / "outbox"


def _get_or_create(client: MlflowClient, uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found: Experiment | None = client.get_experiment_by_name(name)
    if found is None:
        root = artifact_root(uri)
        slug = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "experiment"
        location = None if root is None else (root / slug).as_uri()
        try:
            # The kind opens the UI on training runs instead of on chat traces.
            kind: dict[str, str] = {Tag.EXPERIMENT_KIND: "custom_model_development"}
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


def _create_alone(connection: Connection) -> None:
    """Create the tables and the experiment while no other process of this machine does."""
    # Before the lock: several seconds that each process would otherwise wait for each other one.
    import mlflow.store.tracking.sqlalchemy_store
    import mlflow.tracking  # noqa: F401

    path: Path | str = connection.shown_uri
    try:
        path = health.lock_path(connection.uri, "tracking")
        with FileLock(path, timeout=_LOCK_SECONDS):
            if not health.has_experiment(connection.uri, connection.experiment):
                connection.known_experiment()
    except Timeout as error:
        raise TrackingError(
            f"tracking.uri={connection.shown_uri}: another process has been creating its tables "
            f"for {_LOCK_SECONDS:.0f} s ({path} is locked). Start again when it is done, or end "
            "the process that holds the file."
        ) from error
    except OSError as error:
        raise TrackingError(
            f"tracking.uri={connection.shown_uri}: {error.filename or path} cannot be written "
            f"({error.strerror}). Choose another place with "
            "tracking.uri=sqlite:////folder/mlflow.db."
        ) from error
