"""MLflow's tables, made by its migrations once in a process and copied from then on."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

_made: list[sqlite3.Connection] = []


def copy_from_now_on() -> None:
    """Let MLflow copy the tables of an empty SQLite file, once it has been imported.

    Its migrations take a second of a processor, and a hundred commits to the disk.
    """
    utils = sys.modules.get("mlflow.store.db.utils")
    if utils is None or hasattr(utils._initialize_tables, "migrate"):
        return
    migrate = utils._initialize_tables

    def initialise(engine: Any) -> None:
        if engine.dialect.name != "sqlite" or not engine.url.database:
            migrate(engine)
            return
        with sqlite3.connect(engine.url.database) as own:
            if _made:
                _made[0].backup(own)
            else:
                migrate(engine)
                _made.append(sqlite3.connect(":memory:", check_same_thread=False))
                own.backup(_made[0])
        own.close()

    initialise.migrate = migrate  # type: ignore[attr-defined]
    utils._initialize_tables = initialise
