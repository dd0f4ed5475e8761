"""Globs for paths, with an extension in any letter case."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePath


def fits(name: str, pattern: str) -> bool:
    """Match a path below the root as ``Path.rglob`` does, the extension in any letter case."""
    return _match(name.split("/"), ["**", *(part for part in pattern.split("/") if part)])


def _match(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_match(parts[start:], wanted[1:]) for start in range(len(parts) + 1))
    return bool(parts) and _alike(parts[0], wanted[0]) and _match(parts[1:], wanted[1:])


def _alike(name: str, wanted: str) -> bool:
    stem, dot, suffix = wanted.rpartition(".")
    path = PurePath(name)
    return fnmatchcase(name, wanted) or (
        bool(dot) and fnmatchcase(path.stem + path.suffix.lower(), f"{stem}.{suffix.lower()}")
    )
