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

from hyperspec.tracking import environment, health, retry
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.database import check_runs_database
from hyperspec.tracking.health import SQLITE, database_path, sqlite_address, typed_database
from hyperspec.tracking.new_store import lay_tables
from hyperspec.tracking.record import RunRecord, read_run, search_runs
from hyperspec.tracking.relocation import artifact_folder, mend_addresses
from hyperspec.tracking.retry import NotYetError, UnreachableError, first_line
from hyperspec.utils.errors import TrackingError
from hyperspec.utils.file_names import as_file_name

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
            self._client = open_client(self.uri, create=True)
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

    def has_run(self, run_id: str) -> bool:
        """Say whether the store has a run, which can be written then.

        Raises:
            NotYetError: If the run was deleted, alone or with its experiment.
        """
        from mlflow.exceptions import MlflowException

        try:
            found = read_run(self.client, run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        if found.is_deleted:
            raise NotYetError(
                f"the run {run_id} was deleted in {self.shown_uri}; its results wait until it is "
                "restored, in the UI or by: "
                f"MLFLOW_TRACKING_URI={self.shown_uri} mlflow runs restore --run-id {run_id}"
            )
        return True

    def known_experiment(self) -> str:
        """Return the experiment's identity; create the experiment at first use.

        Raises:
            UnreachableError: If the store does not answer.
            NotYetError: If the experiment was deleted.
            TrackingError: If the store refuses.
        """
        if not self.experiment_id:
            client = self.client
            self.experiment_id = retry.retry_store(
                lambda: _get_or_create(client, self.uri, self.experiment),
                health.LOCKED_SECONDS if database_path(self.uri) else 0.0,
                f"tracking.uri={self.shown_uri}",
            )
        return self.experiment_id


def resolve_uri(uri: str | None, base: Path | None = None) -> str:
    """Return the address with an absolute path, since a relative one makes a store per folder.

    It is ``sqlite:///relative.db``, ``sqlite:////absolute.db``, a path that ends in ``.db``, or the
    address of a server. Relative paths start from ``base``, the current folder by default. None
    takes the environment's ``MLFLOW_TRACKING_URI``, and ``sqlite:///mlflow.db`` without it.

    Raises:
        TrackingError: If the address is of a kind that cannot hold runs.
    """
    typed, place = environment.store_address(uri)
    text = typed.strip()
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
        f"{place}={health.shown(typed)} cannot hold runs: MLflow's folder store is closed to new "
        "runs, and a store in memory ends with its process. Use tracking.uri=sqlite:///mlflow.db "
        "for a file, or http://host:port for a tracking server."
    )


def artifact_root(uri: str) -> Path | None:
    """Return the folder beside a SQLite file that holds its artifacts, or None for a server."""
    database = database_path(uri)
    return None if database is None else artifact_folder(database)


def open_client(uri: str, *, create: bool = False) -> MlflowClient:
    """Return an MLflow client for an absolute address, without telemetry and migration chatter.

    A SQLite file that is not there is begun with ``create`` only. In one that was moved the
    addresses of artifacts are mended first, see :mod:`hyperspec.tracking.relocation`.

    Raises:
        UnreachableError: If a server does not answer.
        TrackingError: If the store cannot be opened; the message names it.
    """
    if not create:
        health.check_exists(uri)
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
        check_runs_database(uri)
        mend_addresses(database)
        if create:
            lay_tables(database)
    else:
        health.knock(uri)
        if not uri.startswith("http"):
            check_runs_database(uri)
    locked = database is not None and health.is_locked(database)
    seconds, place = health.LOCKED_SECONDS if locked else 0.0, f"tracking.uri={health.shown(uri)}"
    try:
        with _no_second_folder(uri):
            return retry.retry_store(lambda: MlflowClient(tracking_uri=uri), seconds, place)
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, UnreachableError) as error:
        raise TrackingError(
            f"{place} cannot be opened ({first_line(error)}). Check the address, or "
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
    uri: str | None,
    experiment: str | None,
    base: Path | None = None,
    *,
    outbox: str | None = None,
    offline: bool = False,
    begun: bool = False,
) -> Connection:
    """Open the store and the experiment, creating both at first use.

    For None and for a relative path in ``uri``, which starts from ``base``, see
    :func:`resolve_uri`; for ``experiment`` :func:`experiment_name`; for ``outbox``
    :func:`outbox_folder`. With ``offline`` a store that does not answer will do: runs then wait in
    the outbox. In a sweep that has ``begun`` they also wait for an experiment that was deleted.

    Raises:
        UnreachableError: If the store does not answer and ``offline`` is false.
        TrackingError: If the address is unusable or the experiment was deleted.
    """
    address = resolve_uri(uri, base)
    if begun:
        health.check_exists(address)
    if uri is None and environment.store_address(None)[1] == environment.URI:
        log.info("the store is %s, named by %s", health.shown(address), environment.URI)
    name = experiment_name(address, experiment)
    connection = Connection(address, name, outbox_folder(address, base, outbox))
    try:
        # A tracking server makes its tables at its own start.
        if not address.startswith("http") and not health.has_experiment(address, name):
            _create_alone(connection)
        connection.known_experiment()
    except UnreachableError as error:
        if not offline or (isinstance(error, NotYetError) and not begun):
            raise
        log.warning(
            "%s Training goes on without it: runs are kept in %s, and sent when it answers or by "
            "`hyperspec sync`.",
            error,
            connection.outbox,
        )
    return connection


def experiment_name(uri: str, given: str | None) -> str:
    """Return the experiment that the config names, else ``MLFLOW_EXPERIMENT_NAME`` or ``_ID``.

    Without any of them it is ``hyperspec``. ``uri`` is absolute; it is asked for an identity alone.

    Raises:
        UnreachableError: If the store does not answer.
        TrackingError: If it has no experiment of that identity.
    """
    named = given or os.environ.get(environment.EXPERIMENT)
    number = os.environ.get(environment.EXPERIMENT_ID)
    if named or not number:
        return named or environment.DEFAULT_EXPERIMENT
    place = f"{environment.EXPERIMENT_ID}={number}"
    try:
        with retry.store_errors():
            return str(open_client(uri).get_experiment(number).name)
    except UnreachableError:
        raise
    except TrackingError as error:
        raise TrackingError(
            f"{place} names no experiment of {health.shown(uri)} ({first_line(error)}). Give "
            f"tracking.experiment=NAME or {environment.EXPERIMENT}."
        ) from error


def outbox_folder(uri: str, base: Path | None = None, given: str | None = None) -> Path:
    """Return the folder that keeps what a store does not have yet: as ``given`` by the config.

    By default it lies beside a SQLite file, and in the folder of the command for a server.
    """
    start = (base or Path.cwd()).absolute()
    if given:
        return start / Path(given).expanduser()
    return health.default_outbox(database_path(uri) or start / "server")


def _get_or_create(client: MlflowClient, uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        found: Experiment | None = client.get_experiment_by_name(name)
    except MlflowException as error:
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
        if status not in (401, 403):
            raise
        raise TrackingError(
            f"tracking.uri={health.shown(uri)} refuses who asks (status {status}). Set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to "
            "an account that may use it."
        ) from error
    if found is None:
        root = artifact_root(uri)
        slug = as_file_name(re.sub(r"[^\w.-]+", "-", name).strip("-.") or "experiment")
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
                    f"tracking.experiment={name} cannot be created in {health.shown(uri)} "
                    f"({first_line(error)}). Choose another name."
                ) from error
    if found.lifecycle_stage == "deleted":
        raise NotYetError(
            f"tracking.experiment={name} was deleted in {health.shown(uri)}. Choose another name, "
            f"or bring it back with: MLFLOW_TRACKING_URI={health.shown(uri)} mlflow experiments "
            f"restore --experiment-id {found.experiment_id}"
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
