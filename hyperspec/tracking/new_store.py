"""A new SQLite store: MLflow's tables at once, as its migrations would leave them.

MLflow makes them by its migrations, sixty scripts that make, copy and drop tables: more than a
second of a processor, and a hundred commits to the disk.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from hyperspec.tracking.database import TRIED, newest_revision

log = logging.getLogger(__name__)

TABLES = Path(__file__).with_name("mlflow_tables.sql")
"""What the migrations up to ``TRIED`` leave of an empty file, written by
``tests/support/write_mlflow_tables.py``."""


def lay_tables(database: Path) -> None:
    """Make all tables of a store that is not there yet, or is empty; all of them or none.

    With an MLflow whose tables are of another version nothing is done, nor with a file that holds
    anything or cannot be written: MLflow then does it its own way, or says what is wrong.
    """
    if newest_revision() != TRIED or (database.exists() and database.stat().st_size):
        return
    try:
        with closing(sqlite3.connect(database)) as base:
            base.executescript(TABLES.read_text("utf-8"))
    except sqlite3.Error as error:  # closing took all of it back
        log.debug("MLflow makes the tables of %s itself: %s", database, error)
