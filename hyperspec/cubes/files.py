"""Which files belong together: data file and header, mask, and the rasters of a band set."""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache
from pathlib import Path
from typing import Final

from hyperspec.cubes.envi.header import (
    EnviHeader,
    is_envi,
    parse_header,
    read_header_bytes,
    refuse_pointer,
)
from hyperspec.utils.errors import CatalogueError, CubeError

# Extensions that raw cubes are seen with; a file without an extension comes last.
DATA_SUFFIXES: Final = (
    *(".bil", ".bip", ".bsq", ".raw", ".dat", ".img", ".bin", ".spec", ".flt", ".cube", ".hsi"),
    *(".tif", ".tiff", ""),
)


# Rasters that programs write band by band. Raw ENVI files are cubes of their own.
BAND_SUFFIXES: Final = (".tif", ".tiff", ".jp2", ".vrt", ".png")


# Every way to write the extension of a header, the usual ones first.
_HEADER_SUFFIXES: Final = (
    *(".hdr", ".HDR", ".Hdr"),
    *(".hDr", ".hdR", ".HDr", ".HdR", ".hDR"),
)


def header_candidates(path: Path) -> list[Path]:
    """Return where the header of a data file may lie: ``x.bil.hdr`` before ``x.hdr``."""
    names = [base + suffix for suffix in _HEADER_SUFFIXES for base in (path.name, path.stem)]
    return [path.with_name(name) for name in dict.fromkeys(names) if name != path.name]


def find_header(path: Path) -> Path | None:
    """Return the header of a data file, None when there is none.

    Where both ``x.bil.hdr`` and ``x.hdr`` lie there, the first that is an ENVI header is taken:
    some programs put an ESRI header beside it.

    Raises:
        CubeError: If a header is unreadable or a pointer of a large-file store.
    """
    present = [candidate for candidate in header_candidates(path) if candidate.is_file()]
    for candidate in present:
        if len(present) == 1 or is_envi(read_header_bytes(candidate)):
            return candidate
    return present[0] if present else None


def require_header(path: Path) -> Path:
    """Return the header of a data file.

    Raises:
        CubeError: If there is none; the message lists the names that were looked for.
    """
    header = find_header(path)
    if header is None:
        names = " or ".join(candidate.name for candidate in header_candidates(path)[:2])
        raise CubeError(
            f"{path} has no header: neither of {names} lies beside it. Copy the cube's .hdr there."
        )
    return header


def read_header(path: str | os.PathLike[str]) -> EnviHeader:
    """Read an ENVI header.

    Args:
        path: The header, or the data file that it stands beside.

    Raises:
        CubeError: If the file is missing, no ENVI header, or its layout is incomplete or of a
            kind that is not read.
    """
    header = Path(path)
    if header.suffix.lower() != ".hdr":
        header = require_header(header)
    return parse_header(read_header_bytes(header), header)


def find_data(header: Path) -> Path:
    """Return the data file of a header: ``x.bil`` for ``x.bil.hdr``, ``x.*`` for ``x.hdr``.

    Raises:
        CubeError: If there is none, or more than one.
    """
    stem = header.with_suffix("")
    named = stem.is_file() and stem.suffix.lower() in DATA_SUFFIXES
    beside = [path for path in stem.parent.iterdir() if path.name.startswith(stem.name)]
    ranks = {suffix: rank for rank, suffix in enumerate(DATA_SUFFIXES)}
    endings = {path: path.name[len(stem.name) :].lower() for path in beside}
    known = [path for path in beside if endings[path] in ranks and path.is_file()]
    found = [stem] if named else sorted(known, key=lambda path: (ranks[endings[path]], path))
    if len(found) == 1:
        return found[0]
    listed = ", ".join(path.name for path in found) or "none"
    raise CubeError(
        f"The header {header} does not tell its data file: found {listed}. Open the data file "
        "itself."
    )


def data_candidates(header: Path) -> list[Path]:
    """Return the data files that have the name of a header (``x.hdr``), whatever their extension.

    Where file names ignore case, ``x.bil`` and ``x.BIL`` are one file.
    """
    stem = str(header.with_suffix(""))  # as text: this is done for each cube that is opened
    upper = [suffix.upper() for suffix in DATA_SUFFIXES if suffix]
    names = dict.fromkeys(stem + suffix for suffix in (*DATA_SUFFIXES, *upper))
    found = [Path(name) for name in names if os.path.isfile(name)]
    return [path for i, path in enumerate(found) if not any(path.samefile(p) for p in found[:i])]


def band_files(folder: Path) -> list[Path]:
    """List the rasters of a folder that may be bands, numbers in their names in order.

    Beside rasters of another kind, a PNG is a preview and no band. Masks (``*_mask.*``) are none
    either.
    """
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in BAND_SUFFIXES
        and not path.name.startswith(".")
        and not is_mask(path)
        and path.is_file()
    ]
    rasters = [path for path in found if path.suffix.lower() != ".png"]
    return sorted(rasters or found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def bare_name(path: Path) -> str:
    """Return a cube's name: of a file without its extension, of a band set the folder's."""
    return path.name if path.is_dir() else path.stem


def check_data_file(path: Path) -> int:
    """Return a data file's size in bytes.

    Raises:
        CubeError: If it is missing, a folder, unreadable, or a pointer of a large-file store.
    """
    if path.is_dir():
        raise CubeError(f"{path} is a folder; give one cube's data file.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(1000)
    except FileNotFoundError:
        raise CubeError(f"The cube {path} does not exist; check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise CubeError(f"The cube {path} cannot be read: {error}.") from error
    refuse_pointer(path, start)
    return size


# What a mask may be, by the end of its name in lower case; the first four are looked for first.
MASK_SUFFIXES: Final = (
    *("_mask.png", "_mask.tif", "_mask.tiff", "_mask.npy", "_mask.bmp", "_mask.jpg", "_mask.jpeg"),
    *("_mask.gif", "_mask.pgm", "_mask.ppm", "_mask.pnm", "_mask.webp", "_mask.tga"),
)


def is_mask(path: Path) -> bool:
    """Say whether a file is named as a mask, in letters of either case."""
    return path.name.lower().endswith(MASK_SUFFIXES)


def check_root(root: Path) -> None:
    """Refuse what is no folder.

    Raises:
        CatalogueError: If it is none.
    """
    if root.is_file():
        raise CatalogueError(
            f"The folder of cubes (data.root) is {root}, which is a file. Give the folder that it "
            f"lies in: {root.parent}."
        )
    if not root.is_dir():
        raise CatalogueError(
            f"The folder of cubes (data.root) is {root}, which is no folder. Give the folder of "
            "the cubes, or make one with `hyperspec synth`."
        )


def find_mask(path: Path) -> Path | None:
    """Return the mask image beside a cube (``x.bil`` -> ``x_mask.png``), or None.

    That of a band set lies beside its folder under the folder's name, or in it under any name.

    Args:
        path: The cube's data file, or the folder of a band set.

    Raises:
        CubeError: If there are several.
    """
    bare = bare_name(path)
    for suffix in MASK_SUFFIXES[:4]:
        candidate = path.with_name(bare + suffix)
        if candidate.is_file():
            return candidate
    names = (name for name in _masks_in(path.parent) if name.startswith(bare))
    beside = [path.with_name(name) for name in names if name[len(bare) :].lower() in MASK_SUFFIXES]
    found = beside or ([p for p in path.iterdir() if is_mask(p)] if path.is_dir() else [])
    found = sorted(p for p in found if p.is_file())
    if len(found) > 1:
        raise CubeError(
            f"{path} has several masks: {', '.join(p.name for p in found)}. Keep the one that "
            "belongs to the cube."
        )
    return found[0] if found else None


# File systems note changes by ticks of milliseconds, some by two seconds: after so long a change
# shows in a folder's times.
_SETTLED_NS: Final = 3 * 10**9


def _masks_in(folder: Path) -> tuple[str, ...]:
    """Return the names of masks in a folder, which is listed once as long as it does not change.

    Each cube is asked for its mask several times: to list thousands of files each time took
    most of a scan.
    """
    try:
        status = os.stat(folder)
        times = (status.st_mtime_ns, status.st_ctime_ns)
        settled = time.time_ns() - max(times) > _SETTLED_NS
        listed = _list_masks if settled else _list_masks.__wrapped__
        return listed(str(folder), (status.st_ino, *times))
    except OSError:
        return ()


@lru_cache(maxsize=256)
def _list_masks(folder: str, state: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(name for name in os.listdir(folder) if name.lower().endswith(MASK_SUFFIXES))
