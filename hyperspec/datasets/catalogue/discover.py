"""Which files of a folder are cubes, and which are its white and dark frames."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hyperspec.cubes.array_file import ARRAY_SUFFIXES
from hyperspec.cubes.files import (
    BAND_SUFFIXES,
    DATA_SUFFIXES,
    band_files,
    header_candidates,
    is_mask,
)
from hyperspec.cubes.formats import foreign_format
from hyperspec.utils.errors import CatalogueError

# A TIFF may be a mask or a picture; it is a cube only when the pattern asks for it.
_RAW_SUFFIXES = frozenset(DATA_SUFFIXES) - {".tif", ".tiff", ""}

# `white`, `dark`, `WHITEREF_01`, `dark_reference_crop`, `white-frame 2`; not `Darkling beetle` nor
# `white admiral`.
_FRAME = re.compile(
    r"(?P<kind>white|dark)[\s_.-]*(ref|frame|cal|current|panel|tile|board|\d|$)", re.IGNORECASE
)


def find_cubes(root: Path, pattern: str) -> tuple[list[Path], list[Path]]:
    """List the cubes of a folder and its subfolders, sorted.

    Args:
        root: The folder.
        pattern: ``*`` takes every file with a raw cube's extension (``.bil``, ``.raw``, ...) and
            every file without extension that has a header; another pattern (``*.bil``) takes what
            it says. One that ends with a slash (``*/``) takes folders that hold rasters: band
            sets, each one cube.

    Returns:
        The data files or folders, and the headers that have no data file.

    Raises:
        CatalogueError: If the folder does not exist or holds no cube.
    """
    if not root.is_dir():
        raise CatalogueError(
            f"data.root is {root}, which is no folder. Give the folder of the cubes, or make one "
            "with `hyperspec synth`."
        )
    if pattern.endswith("/"):
        return _band_sets(root, pattern), []
    files = sorted(p for p in root.rglob(pattern) if p.is_file() and _visible(p, root))
    if pattern == "*":
        cubes = [p for p in files if _looks_like_a_cube(p)]
        orphans = _orphans(files)
    else:
        cubes = [p for p in files if p.suffix.lower() != ".hdr" and not is_mask(p)]
        headers = (p for p in root.rglob("*.[hH][dD][rR]") if p.is_file() and _visible(p, root))
        orphans = sorted(p for p in headers if _lacks_data(p, pattern))
    if not cubes and not orphans:
        raise CatalogueError(
            f"The folder {root} holds no cube that fits data.pattern={pattern}: raw data files "
            "(.bil, .bip, .bsq, .raw, .dat, .img, ...) with an ENVI header (.hdr) beside each."
            + _hint(root)
        )
    return cubes, orphans


def _band_sets(root: Path, pattern: str) -> list[Path]:
    found = sorted(_folders(root, pattern.rstrip("/") or "*"))
    if found:
        return found
    raise CatalogueError(
        f"The folder {root} holds no folder that fits data.pattern={pattern} with rasters in it "
        f"({', '.join(BAND_SUFFIXES)})."
        + (f" {root} itself does: give the folder above it." if band_files(root) else "")
    )


def _folders(root: Path, pattern: str) -> Iterator[Path]:
    """Yield folders that hold rasters."""
    for path in root.rglob(pattern):
        if path.is_dir() and path != root and _visible(path, root) and band_files(path):
            yield path


def _hint(root: Path) -> str:
    """Say how band sets, arrays and other formats are read where there could be some."""
    example = min(_folders(root, "*"), default=None)
    if example is not None:
        return (
            f" Folders such as {example.relative_to(root).as_posix()} hold rasters: where each "
            "folder is one cube in several files, set data.pattern='*/'."
        )
    if band_files(root):
        return (
            " It holds rasters: name them with data.pattern='*.tif' when each is a cube, "
            "or give the folder above and '*/' when together they are one."
        )
    for path in (p for p in sorted(root.rglob("*")) if p.is_file() and _visible(p, root)):
        known, name = foreign_format(path), path.relative_to(root).as_posix()
        if known is not None:
            return f" It holds {name}, {known[0]}. {known[1]}"
        if path.suffix.lower() in ARRAY_SUFFIXES and not is_mask(path):
            return (
                f" It holds {name}: set data.pattern='*{path.suffix}' and give the axis "
                "(data.axis, or data.axis.file)."
            )
    return ""


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


def _visible(path: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def _lacks_data(header: Path, pattern: str) -> bool:
    """Say whether a header is that of a file which would fit the pattern, and is not there."""
    data = header.with_suffix("")
    if data.suffix.lower() not in DATA_SUFFIXES or not data.suffix:  # `x.hdr`, not `x.bil.hdr`
        suffix = Path(pattern).suffix
        if not suffix or "*" in suffix:
            return False
        data = header.with_suffix(suffix)
    if not data.match(pattern) or data.exists():
        return False
    beside = header.parent.glob(f"{glob.escape(data.stem)}*")
    return not any(header in header_candidates(path) for path in beside if path != header)


def _looks_like_a_cube(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in _RAW_SUFFIXES:
        return True
    # `scan_1.2_a` has the suffix `.2_a`: any name may lack a real extension. But `x.png` beside
    # `x.hdr` and `x.raw` is a picture: only a header named after the whole file makes it a cube.
    named = path.with_name(path.name + ".hdr")
    has_own_header = named.is_file() or path.with_name(path.name + ".HDR").is_file()
    return has_own_header and suffix != ".hdr"


def _orphans(files: Sequence[Path]) -> list[Path]:
    """Return the headers that belong to none of the files."""
    headers = [path for path in files if path.suffix.lower() == ".hdr"]
    # Collected once: looking through the folder for each header took minutes for a thousand.
    owned = {
        header
        for path in files
        if path.suffix.lower() != ".hdr"
        for header in header_candidates(path)
    }
    return [header for header in headers if header not in owned]
