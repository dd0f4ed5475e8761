"""What a cube consists of: its files, their checksums kept between runs, whether they changed."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from hyperspec.cubes.files import band_files, find_header, find_mask
from hyperspec.cubes.vrt import check_vrt
from hyperspec.utils.atomic import write_text
from hyperspec.utils.errors import CubeError

Stamp = tuple[tuple[str, int, int, int, int], ...]
"""Per file: name, size, number of the inode, times of change of content and of inode in ns."""

_LOG = logging.getLogger(__name__)
_CHUNK = 4 * 2**20


def file_digest(path: Path) -> str:
    """Return 32 hex digits of a file's content (BLAKE2b)."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(_CHUNK)
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()


def bytes_digest(content: bytes) -> str:
    """Return 32 hex digits of what a file holds, as :func:`file_digest` does."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def combined(parts: Iterable[object], digits: int = 32) -> str:
    """Return hex digits of a sequence of plain values; stable across processes."""
    content = json.dumps(list(parts), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(content.encode(), digest_size=digits // 2).hexdigest()


class ChecksumCache:
    """Remembers content checksums by path, size, and times of change.

    The time of the last change of the inode (ctime) counts too: a copy that keeps its source's
    modification time (``cp -p``, rsync) and has the same size would else pass for the old file.

    Args:
        cache_dir: Folder of the cache file; None remembers nothing between runs.
    """

    def __init__(self, cache_dir: Path | None) -> None:
        self._file = None if cache_dir is None else cache_dir / "checksums.json"
        self._lock = threading.Lock()
        self._known: dict[str, list[int | str]] = self._load()
        self._changed = False

    def digest(self, path: Path) -> str:
        """Return the checksum of a file, read only when it is new or changed."""
        status = path.stat()
        stamp: list[int | str] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        key = str(path.resolve())
        known = self._known.get(key)
        if known is not None and known[:3] == stamp:
            return str(known[3])
        value = file_digest(path)
        with self._lock:
            self._known[key] = [*stamp, value]
            self._changed = True
        return value

    def text(self, key: str, make: Callable[[], str]) -> str:
        """Return what was made under a key before, made only when there is none.

        The key must change with all that the text depends on, such as a checksum.
        """
        known = self._known.get(key)
        if known is not None:
            return str(known[3])
        value = make()
        with self._lock:
            self._known[key] = [0, 0, 0, value]
            self._changed = True
        return value

    def save(self) -> None:
        """Write what is new. Two processes at once: the last one wins, nothing is wrong."""
        if self._file is None or not self._changed:
            return
        try:
            content = {**self._load(), **self._known}
            text = json.dumps({"content": content, "checksum": combined([content])})
            write_text(self._file, text)
        except OSError as error:
            _LOG.warning(
                "Checksums are not remembered in %s (%s), so that every cube is read again next "
                "time; name a folder that can be written with data.cache_dir.",
                self._file.parent,
                error.strerror,
            )
        self._changed = False

    def _load(self) -> dict[str, list[int | str]]:
        """Return what the file remembers; a damaged one costs a second reading, nothing else."""
        if self._file is None:
            return {}
        try:
            whole = json.loads(self._file.read_bytes())
            # The file of version 0.1.0 has no checksum of its own.
            content = whole["content"] if whole.keys() == {"content", "checksum"} else whole
            if content is not whole and whole["checksum"] != combined([content]):
                return {}
            return {k: v for k, v in content.items() if isinstance(v, list) and len(v) == 4}
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            return {}


class StampDigests(ChecksumCache):
    """Takes a file's path, size and times of change for its content, which is not read.

    For cubes of which nothing is kept under a checksum: summing them takes a good part of the time
    of reading them.
    """

    def __init__(self) -> None:
        super().__init__(None)

    def digest(self, path: Path) -> str:
        """Return a checksum of what the file system says of a file."""
        status = path.stat()
        times = (status.st_mtime_ns, status.st_ctime_ns)
        return combined([str(path.resolve()), status.st_size, status.st_ino, *times])


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the files that hold a cube's values: one, or all of a band set."""
    return tuple(band_files(path)) if path.is_dir() else (path,)


def sources(path: Path) -> tuple[Path, ...]:
    """Return every file that a prepared image depends on: the cube, its header, its mask.

    Of a band set also what GDAL keeps beside a raster (``x.tif.aux.xml``): it may name wavelengths.
    """
    files = data_files(path)
    # What a virtual raster names holds its values.
    others: list[Path | None] = [
        source for file in files if file.suffix.lower() == ".vrt" for source in check_vrt(file)
    ]
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


def check_unchanged(path: Path, taken: Stamp) -> None:
    """Refuse what was read under the name of another content.

    Raises:
        CubeError: Naming the file.
    """
    try:
        same = stamp(path) == taken
    except OSError:
        same = False
    if not same:
        raise CubeError(
            f"{path}, its header or its mask was changed after the folder was scanned. Start "
            "again when nothing is being copied into the folder."
        )


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
