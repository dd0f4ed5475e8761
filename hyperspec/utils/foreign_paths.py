"""Paths that a file names, which somebody else may have written: they stay below a folder."""

from __future__ import annotations

from pathlib import Path


def inside(root: Path, name: object) -> Path | None:
    """Return the path below a folder that a file names, links followed.

    Args:
        root: The folder.
        name: Relative path, as it was read.

    Returns:
        The path, or None where it leads out of the folder (``..``, an absolute path, a link) or is
        no name of a file.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        return None
    path = root / name
    try:
        fits = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links that lead to each other
        return None
    return path if fits else None
