"""What a catalogue holds: files and their checksums, a record per cube, problems, the axis."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hyperspec.cubes.files import band_files, find_header, find_mask
from hyperspec.datasets.catalogue.labels import FileLabels
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.atomic import write_text
from hyperspec.utils.errors import CatalogueError

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 4 * 2**20


def file_digest(path: Path) -> str:
    """Return 32 hex digits of a file's content (BLAKE2b)."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(_CHUNK)
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()


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

    def save(self) -> None:
        """Write what is new. Two processes at once: the last one wins, nothing is wrong."""
        if self._file is None or not self._changed:
            return
        write_text(self._file, json.dumps({**self._load(), **self._known}))
        self._changed = False

    def _load(self) -> dict[str, list[int | str]]:
        if self._file is None or not self._file.is_file():
            return {}
        try:
            content = json.loads(self._file.read_text())
        except ValueError:
            return {}  # a damaged cache costs a second reading, nothing else
        if not isinstance(content, dict):
            return {}
        return {k: v for k, v in content.items() if isinstance(v, list) and len(v) == 4}


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


# Columns that every catalogue's table has; the others are label columns.
OWN_COLUMNS = (
    *("file", "label", "specimen", "view", "date"),
    *("num_bands", "num_lines", "num_samples", "num_bytes", "axis_hash", "checksum"),
)


@dataclass(frozen=True)
class Problem:
    """Something that a user should know about a file of the folder.

    Args:
        file: Path relative to the folder; ``.`` for the folder as a whole.
        severity: ``error``: the cube is left out; ``warning``: it is used.
        message: What was seen and what to do.
    """

    file: str
    severity: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


def copies(files: Iterable[tuple[str | None, str]]) -> Iterator[Problem]:
    """Yield a warning for each file, with its checksum before it, that repeats an earlier one."""
    first: dict[str, str] = {}
    for checksum, file in files:
        same = file if checksum is None else first.setdefault(checksum, file)
        if same != file:
            text = f"has the same content as {same}; one of the two is probably a wrong copy."
            yield Problem(file, "warning", text)


@dataclass(frozen=True, kw_only=True)
class CubeRecord(FileLabels):
    """One readable cube and its labels.

    Args:
        file: Path relative to the catalogue's root, with forward slashes.
        path: The data file.
        shape: Bands, lines, samples.
        axis_hash: Hash of the cube's own axis.
        num_bytes: Size of the data file.
        checksum: Of data file, header and mask image.
        stamp: Of the same files, taken before the checksum; a file that changes later is noticed.
    """

    file: str
    path: Path
    shape: tuple[int, int, int]
    axis_hash: str
    num_bytes: int
    checksum: str
    stamp: Stamp


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The cubes of a folder.

    Args:
        root: The folder.
        records: Readable cubes on one axis, sorted by file.
        axis: The axis that they share.
        problems: What did not fit, errors first.
        white: The white frame, when there is one.
        dark: The dark frame, when there is one.
        frames_checksum: Of both frames; empty without them.
        frames_stamps: Their files and stamps.
    """

    root: Path
    records: tuple[CubeRecord, ...]
    axis: SpectralAxis
    problems: tuple[Problem, ...] = ()
    white: Path | None = None
    dark: Path | None = None
    frames_checksum: str = ""
    frames_stamps: tuple[tuple[Path, Stamp], ...] = ()

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits of names, contents, labels, axis and calibration frames."""
        rows = [
            [r.file, r.checksum, r.label, r.specimen, r.view, r.date, dict(r.labels)]
            for r in self.records
        ]
        return combined([rows, self.axis.hash, self.frames_checksum], 16)

    def table(self) -> pd.DataFrame:
        """Return one row per cube: file, label, specimen, view, date, label columns, sizes."""
        import pandas as pd

        rows = []
        for r in self.records:
            known = (r.file, r.label, r.specimen, r.view, r.date)
            seen = (*r.shape, r.num_bytes, r.axis_hash, r.checksum)
            rows.append({**r.labels, **dict(zip(OWN_COLUMNS, (*known, *seen), strict=True))})
        table = pd.DataFrame(rows)
        others = [name for name in table.columns if name not in OWN_COLUMNS]
        return table[[*OWN_COLUMNS[:5], *others, *OWN_COLUMNS[5:]]]

    def raise_errors(self) -> None:
        """Raise when a cube had to be left out.

        Raises:
            CatalogueError: With the first five errors.
        """
        errors = [p for p in self.problems if p.severity == "error"]
        if errors:
            first = " ".join(f"{p.file}: {p.message}" for p in errors[:5])
            more = f" And {len(errors) - 5} more." if len(errors) > 5 else ""
            raise CatalogueError(
                f"{len(errors)} of the files in {self.root} cannot be used: {first}{more}"
            )
