"""Which files of a folder are cubes, and which are its white and dark frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hyperspec.cubes.listing import list_cubes
from hyperspec.utils.errors import CatalogueError

# `white`, `dark`, `WHITEREF_01`, `dark_reference_crop`, `white-frame 2`; not `Darkling beetle` nor
# `white admiral`.
_FRAME = re.compile(
    r"(?P<kind>white|dark)[\s_.-]*(ref|frame|cal|current|panel|tile|board|\d|$)", re.IGNORECASE
)


def find_cubes(root: Path, pattern: str) -> tuple[list[Path], list[Path]]:
    """Return the data files of a folder, and the headers that have none: see :func:`list_cubes`.

    Raises:
        CatalogueError: If the folder does not exist or holds no cube.
    """
    listing = list_cubes(root, pattern)
    return list(listing.cubes), list(listing.headers)


def find_frame(root: Path, cubes: Sequence[Path], kind: str, name: str | None) -> Path | None:
    """Find the white or the dark frame among the files.

    Args:
        root: The folder of the cubes.
        cubes: Its data files.
        kind: ``white`` or ``dark``.
        name: The frame's path relative to ``root`` from the config, or None to look by name.

    Raises:
        CatalogueError: If the named file does not exist, or several files could be the frame.
    """
    if name is not None:
        path = root / name
        if not path.exists():
            raise CatalogueError(
                f"data.{kind} is {name!r}, but {path} does not exist. Give the file of the {kind} "
                "frame relative to data.root, or leave it out to look for it by name."
            )
        return path
    found = [path for path in cubes if frame_kind(path) == kind]
    if len(found) > 1:
        listed = ", ".join(path.relative_to(root).as_posix() for path in found)
        raise CatalogueError(
            f"Several files of {root} could be the {kind} frame: {listed}. Name one with "
            f"data.{kind}."
        )
    return found[0] if found else None


def frame_kind(path: Path) -> str | None:
    """Return ``white`` or ``dark`` when a file is named like a calibration frame, else None."""
    match = _FRAME.match(path.stem)
    return match["kind"].lower() if match else None
