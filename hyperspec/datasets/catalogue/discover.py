"""Which files of a folder are cubes."""

from __future__ import annotations

from pathlib import Path

from hyperspec.cubes.listing import list_cubes


def find_cubes(root: Path, pattern: str) -> tuple[list[Path], list[Path]]:
    """Return the data files of a folder, and the headers that have none: see :func:`list_cubes`.

    Raises:
        CatalogueError: If the folder does not exist or holds no cube.
    """
    listing = list_cubes(root, pattern)
    return list(listing.cubes), list(listing.headers)
