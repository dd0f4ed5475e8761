"""Which files of a folder are cubes."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from hyperspec.cubes.files import BAND_SUFFIXES, DATA_SUFFIXES, band_files, header_candidates
from hyperspec.utils.errors import CatalogueError

# A TIFF may be a mask or a picture; it is a cube only when the pattern asks for it.
_RAW_SUFFIXES = frozenset(DATA_SUFFIXES) - {".tif", ".tiff", ""}


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
        cubes = [p for p in files if p.suffix.lower() != ".hdr"]
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
    """Say how band sets are read where there could be some."""
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
    return ""


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
