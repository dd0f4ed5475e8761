"""Whether files are still those that were scanned, told without reading them."""

from __future__ import annotations

from pathlib import Path

from hyperspec.cubes.mask import find_mask
from hyperspec.cubes.pairing import find_header

Stamp = tuple[tuple[str, int, int, int, int], ...]
"""Per file: name, size, number of the inode, times of change of content and of inode in ns."""


def sources(path: Path) -> tuple[Path, ...]:
    """Return every file that a prepared image depends on: the cube, its header, its mask."""
    others = (find_header(path), find_mask(path))
    return (path, *(other for other in others if other is not None))


def stamp(path: Path) -> Stamp:
    """Return the stamp of a cube and of what lies beside it.

    Raises:
        OSError: If the cube is gone.
    """
    found = []
    for source in sources(path):
        status = source.stat()
        times = (status.st_mtime_ns, status.st_ctime_ns)
        found.append((source.name, status.st_size, status.st_ino, *times))
    return tuple(found)
