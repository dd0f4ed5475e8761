"""A store that moved: artifacts are looked for where its SQLite file lies now.

MLflow keeps the place of each run's artifacts as an absolute address. After ``mv`` these lead to
where the store was: what is read is missing, and what is written makes the old folder anew. In a
copy they lead into the original. They are mended when a store is opened, before MLflow sees it.
"""

from __future__ import annotations

import logging
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from hyperspec.tracking.health import LOCKED_SECONDS, local_folder
from hyperspec.utils.errors import TrackingError

log = logging.getLogger(__name__)

_SUFFIX = "_artifacts"  # mlflow.db has its artifacts in mlflow_artifacts beside it
# Every column that holds such an address; those of runs and models begin with their experiment's.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_OWNERS = ("runs", "logged_models")  # those that have a folder each


def artifact_folder(database: Path) -> Path:
    """Return the folder beside a SQLite file that holds its artifacts."""
    return database.with_name(f"{database.stem}{_SUFFIX}")


def mend_addresses(database: Path) -> None:
    """Let a store's addresses of artifacts lead to where it lies now; tell it in a line.

    A store that was not moved is only read. Addresses that this package did not give stay.

    Raises:
        TrackingError: If the file cannot be written.
    """
    for old, new in _moved(database):
        before = local_folder(old)
        try:
            runs, left = _rewrite(database, old, new)
        except sqlite3.Error as error:
            raise TrackingError(
                f"{database} was moved or copied: its artifacts are said to lie in {before}, and "
                f"that cannot be mended ({error}). Make the file writable, or copy it with its "
                "artifacts to a folder of yours."
            ) from error
        if runs:
            log.warning(
                "%s was moved or copied: artifacts of its %d runs belong to %s now, no longer to "
                "%s.%s",
                *(database, runs, new, before, _how_to_copy(before, new, left) if left else ""),
            )


def _how_to_copy(old: Path | None, new: Path, left: int) -> str:
    there, here = shlex.quote(str(old)), shlex.quote(str(new))
    return (
        f" Those of {left} runs and models are not here. To have them: "
        f"mkdir -p {here} && cp -rn {there}/. {here}"
    )


def _moved(database: Path) -> list[tuple[str, Path]]:
    """Return the addresses of folders that lie elsewhere now, and where."""
    try:
        with closing(_connect(database, "ro")) as base:
            rows = base.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
    except sqlite3.Error:  # no tables yet, or locked: opening the store says what is wrong
        return []
    roots = {str(address).rpartition("/")[0] for (address,) in rows if address}
    found = [(root, _home(local_folder(root), database)) for root in sorted(roots)]
    return [(root, new) for root, new in found if new is not None]


def _home(old: Path | None, database: Path) -> Path | None:
    """Return where a folder of artifacts belongs now; None where it stays or is not ours."""
    if old is None or not old.name.endswith(_SUFFIX):
        return None
    own, beside = artifact_folder(database), database.with_name(old.name)
    original = old.with_name(old.name.removesuffix(_SUFFIX) + database.suffix)
    if old == own or _same(original, database):  # in its place, seen through a link perhaps
        return None
    if old.name == own.name or original.exists():
        return own
    return beside if beside.is_dir() and not _same(beside, old) else None


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _rewrite(database: Path, old: str, new: Path) -> tuple[int, int]:
    """Change the beginning of all addresses at once.

    Returns how many were those of runs, and how many runs and models have their files at the old
    place alone.
    """
    runs, left = 0, 0
    with closing(_connect(database, "rw")) as base, base:
        base.execute("BEGIN IMMEDIATE")
        for table, column in _COLUMNS:
            inside = f"FROM {table} WHERE substr({column}, 1, {len(old) + 1}) = ?"
            for (address,) in base.execute(f"SELECT {column} {inside}", (f"{old}/",)).fetchall():
                there = local_folder(address)
                here = local_folder(new.as_uri() + address.removeprefix(old))
                runs += table == "runs"
                if table in _OWNERS and there is not None and here is not None:
                    left += there.is_dir() and not here.is_dir()
            base.execute(
                # Names of _COLUMNS alone; addresses are parameters.
                f"UPDATE {table} SET {column} = ? || substr({column}, {len(old) + 1}) "  # noqa: S608
                f"WHERE substr({column}, 1, {len(old) + 1}) = ?",
                (new.as_uri(), f"{old}/"),
            )
    return runs, left


def _connect(database: Path, mode: str) -> sqlite3.Connection:
    address = f"{database.as_uri()}?mode={mode}"
    return sqlite3.connect(address, timeout=LOCKED_SECONDS, uri=True)
