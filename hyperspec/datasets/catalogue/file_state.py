"""What a cube consists of: its files, their checksums, and whether they are still the same."""

from __future__ import annotations

from pathlib import Path

from hyperspec.cubes.files import band_files, find_header
from hyperspec.cubes.mask_files import find_mask
from hyperspec.datasets.catalogue.checksums import ChecksumCache, combined

Stamp = tuple[tuple[str, int, int, int, int], ...]
"""Per file: name, size, number of the inode, times of change of content and of inode in ns."""


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold a cube's values: one, or all of a band set."""
    return tuple(band_files(path)) if path.is_dir() else (path,)


def sources(path: Path) -> tuple[Path, ...]:
    """Return every file that a prepared image depends on: the cube, its header, its mask.

    Of a band set also what GDAL keeps beside a raster (``x.tif.aux.xml``): it may name wavelengths.
    """
    files = data_files(path)
    others: list[Path | None] = []
    if path.is_dir():
        notes = {file.name: file for file in path.iterdir() if file.name.endswith(".aux.xml")}
        others += [notes.get(f"{file.name}.aux.xml") for file in files]
    else:
        others.append(find_header(path))
    others.append(find_mask(path))
    return (*files, *(other for other in others if other is not None))


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


def num_bytes(path: Path) -> int:
    """Return the size of a cube's data."""
    return sum(file.stat().st_size for file in data_files(path))


def content_digest(path: Path, cache: ChecksumCache) -> str:
    """Return the checksum of a cube's data, without header and mask."""
    digests = _digests(path, data_files(path), cache)
    return combined(digests) if path.is_dir() else digests[0]


def source_digests(path: Path, cache: ChecksumCache) -> list[str]:
    """Return the checksums of everything that a prepared image depends on."""
    return _digests(path, sources(path), cache)


def _digests(path: Path, files: tuple[Path, ...], cache: ChecksumCache) -> list[str]:
    # The names of a band set's files say which band each is.
    named = path.is_dir()
    return [f"{file.name} {cache.digest(file)}" if named else cache.digest(file) for file in files]
