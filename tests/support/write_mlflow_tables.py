"""Write MLflow's tables anew, as the migrations of the installed version leave them.

`python tests/support/write_mlflow_tables.py`, then set ``TRIED`` of
``hyperspec/tracking/database.py`` to the version that it prints, and run ``tests/tracking``: what
reads those tables without MLflow is compared there with what MLflow says.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from mlflow.store.db.utils import _initialize_tables
from sqlalchemy import NullPool, create_engine

from hyperspec.tracking.database import newest_revision
from hyperspec.tracking.new_store import TABLES


def migrate(database: Path) -> None:
    """Make a store's tables by MLflow's own migrations."""
    engine = create_engine(f"sqlite:///{database}", poolclass=NullPool)
    _initialize_tables(engine)  # type: ignore[no-untyped-call]


def dump(database: Path) -> str:
    """Return the statements that make a database again, in one transaction that nobody shares."""
    with closing(sqlite3.connect(database)) as base:
        first, *rest = base.iterdump()
    assert first == "BEGIN TRANSACTION;"
    lines = "\n".join(["BEGIN IMMEDIATE;", *rest]).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        migrate(Path(name) / "mlflow.db")
        TABLES.write_text(dump(Path(name) / "mlflow.db"), encoding="utf-8")
    print(f"{TABLES}: version {newest_revision()}")
