"""Move a folder of runs: rewrite the absolute paths in its databases and text files."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_DATABASE = b"SQLite format 3\0"
# Checkpoints name the folder of their training, which need not be there when they are read; the
# other endings are data without paths.
_LEFT = (".bil", ".ckpt", ".npy", ".npz", ".parquet", ".png")


def relocate(folder: Path, old_root: str, new_root: str) -> None:
    """Replace ``old_root`` by ``new_root`` in everything below a folder that keeps paths.

    Args:
        folder: What was copied or unpacked.
        old_root: Beginning of the paths that are stored, without a slash at its end.
        new_root: What takes its place, likewise.
    """
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix in _LEFT:
            continue
        content = path.read_bytes()
        if content.startswith(_DATABASE):
            _relocate_database(path, old_root, new_root)
        elif old_root.encode() in content:
            path.write_bytes(content.replace(old_root.encode(), new_root.encode()))


def _relocate_database(path: Path, old: str, new: str) -> None:
    # Without VACUUM the former texts would stay in pages that are free.
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in database.execute(f'PRAGMA table_info("{table}")').fetchall():
                database.execute(
                    f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                    f'WHERE typeof("{column}") = \'text\' AND instr("{column}", ?)',
                    (old, new, old),
                )
        database.execute("VACUUM")
