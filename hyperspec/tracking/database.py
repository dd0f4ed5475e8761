"""Whose a database is: MLflow and Optuna both change what they are given, whoever owns it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from hyperspec.tracking.health import database_path, read_only, shown
from hyperspec.utils.errors import TrackingError

TRIED = "dc11669786a5"
"""Version of MLflow's tables that are made and read here; others are left to MLflow."""
_VERSIONS = "alembic_version"  # a table that both keep; its one row says which version wrote last
_VERSION = f"SELECT version_num FROM {_VERSIONS}"  # noqa: S608 - a constant
_KINDS = ("down_revision", "revision")
_WRITTEN = re.compile(r"""^(down_revision|revision)\b[^=\n]*=\s*["'](\w+)""", re.MULTILINE)
_LISTED = 5  # tables that a message names


@lru_cache(maxsize=64)
def check_runs_database(uri: str) -> None:
    """Refuse a database that is not one of MLflow's, or is one of another version.

    MLflow would add its tables to the former, and bring an older one of its own to its own version.
    One that is empty, is not there, or cannot be read now is let through; nothing is written.

    Raises:
        TrackingError: If it is; the message says whose it is.
    """
    place = f"tracking.uri={shown(uri)}"
    found = _look(uri, place)
    if found is None:
        return
    tables, revision, used = found
    known, newest = _revisions()
    if revision == newest:
        return
    if "studies" in tables:
        raise TrackingError(
            f"{place} holds a study of Optuna, and MLflow would spoil it. Give each a database of "
            "its own, for example tracking.uri=sqlite:///mlflow.db and "
            "hydra.sweeper.storage=sqlite:///study.db."
        )
    if not {"experiments", "runs"} <= tables:
        raise TrackingError(
            f"{place} is the database of something else ({_listed(tables)}). {_NEW}"
        )
    own = f"MLflow {version('mlflow')}"
    if revision is not None and revision not in known:
        raise TrackingError(
            f"{place} was written by a newer MLflow: {own} does not know its version {revision}. "
            f"Nothing was changed in it. Install that MLflow, or take another store. {_NEW}"
        )
    if used:  # else its creation was interrupted, and is gone on with
        raise TrackingError(
            f"{place} was written by an older MLflow (version {revision} of its tables; {own} has "
            f"{newest}). Nothing was changed in it. Keep a copy and bring it up to date with "
            f"`mlflow db upgrade {shown(uri)}`, or take another store. {_NEW}"
        )


def check_study_database(uri: str) -> None:
    """Refuse a database that is not one of Optuna's: Optuna would add its tables and its version.

    Raises:
        TrackingError: If it is; the message says whose it is.
    """
    place = f"hydra.sweeper.storage={shown(uri)}"
    found = _look(uri, place)
    if found is None or "studies" in found[0]:
        return
    whose = "the database of something else"
    if {"experiments", "runs"} <= found[0]:
        whose = "a tracking store of MLflow"
    raise TrackingError(
        f"{place} is {whose} ({_listed(found[0])}), which a study would spoil. Give the study a "
        "database of its own, for example hydra.sweeper.storage=sqlite:///study.db."
    )


_NEW = "A new one is begun by tracking.uri=sqlite:///NAME.db."


def _look(uri: str, place: str) -> tuple[set[str], str | None, bool] | None:
    """Return a database's tables, its version and whether it has experiments; None if it is empty.

    Raises:
        TrackingError: If it is a file of another kind.
    """
    database = database_path(uri)
    if database is None:
        return _look_at_server(uri)
    if not database.is_file() or database.stat().st_size == 0:
        return None
    try:
        with closing(read_only(database)) as base:
            names = base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return _found({str(name) for (name,) in names}, lambda q: base.execute(q).fetchone())
    except sqlite3.OperationalError:  # locked or away: told by whoever opens it
        return None
    except sqlite3.DatabaseError as error:
        raise TrackingError(f"{place} is no database ({error}). {_NEW}") from error


def _look_at_server(uri: str) -> tuple[set[str], str | None, bool] | None:
    from sqlalchemy import NullPool, create_engine, inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_engine(uri, poolclass=NullPool).connect() as base:
            tables = set(inspect(base).get_table_names())
            return _found(tables, lambda query: base.execute(text(query)).first())
    except (SQLAlchemyError, ImportError):  # away, or without its driver: told by who opens it
        return None


def _found(
    tables: set[str], ask: Callable[[str], Sequence[object] | None]
) -> tuple[set[str], str | None, bool] | None:
    if not tables - {_VERSIONS}:
        return None
    row = ask(_VERSION) if _VERSIONS in tables else None
    used = "experiments" in tables and ask("SELECT 1 FROM experiments LIMIT 1") is not None
    return tables, None if row is None else str(row[0]), used


@lru_cache(maxsize=1)
def _revisions() -> tuple[frozenset[str], str]:
    """Return the versions of tables that the installed MLflow knows, and its own.

    Read from the text of its scripts: Alembic imports all of them, half a second of every start.
    """
    spec = find_spec("mlflow")  # of a package within, it would import the packages around
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(next(iter(spec.submodule_search_locations))) / "store" / "db_migrations"
    written = [_WRITTEN.findall(path.read_text("utf-8")) for path in folder.glob("versions/*.py")]
    before, own = ({one for pairs in written for kind, one in pairs if kind == x} for x in _KINDS)
    (newest,) = own - before
    return frozenset(own), newest


def revision_of(uri: str) -> str | None:
    """Return the version of a store's tables; None where it has none, or cannot be read now.

    Raises:
        TrackingError: If it is a file of another kind.
    """
    found = _look(uri, f"tracking.uri={shown(uri)}")
    return None if found is None else found[1]


def newest_revision() -> str:
    """Return the version of the tables that the installed MLflow makes."""
    return _revisions()[1]


def _listed(tables: set[str]) -> str:
    names = sorted(tables - {_VERSIONS})
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"its tables: {', '.join(names[:_LISTED])}{more}"
