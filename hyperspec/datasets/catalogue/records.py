"""What a catalogue holds: a record per cube, problems, and the axis that the cubes share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cubes.acquisition import Acquisition
from hyperspec.cubes.checksums import Stamp, combined
from hyperspec.cubes.cube import Cube
from hyperspec.cubes.frames import FrameFiles
from hyperspec.cubes.gains import Gains
from hyperspec.cubes.read_options import AS_THEY_ARE, ReadOptions
from hyperspec.datasets.catalogue.labels import FileLabels
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError
from hyperspec.utils.problems import Problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OWN_COLUMNS", "Catalogue", "CubeRecord", "Problem", "copies"]

# Columns that every catalogue's table has; the others are label columns.
OWN_COLUMNS = (
    *("file", "label", "specimen", "view", "date"),
    *("num_bands", "num_lines", "num_samples", "num_bytes", "axis_hash", "checksum"),
)


def copies(files: Iterable[tuple[str | None, str]]) -> Iterator[Problem]:
    """Yield a warning for each file, with its checksum before it, that repeats an earlier one."""
    first: dict[str, str] = {}
    for checksum, file in files:
        same = file if checksum is None else first.setdefault(checksum, file)
        if same != file:
            text = f"has the same content as {same}; one of the two is probably a wrong copy."
            yield Problem(file, "warning", text)


@dataclass(frozen=True)
class Stored:
    """What the header of a cube or a frame says of its values.

    Args:
        kind: NumPy's letter for the type: ``u``, ``i`` or ``f``.
        scale_factor: Value that stands for a reflectance of 1.
        acquisition: How the scan was taken.
        gains: Lines per band that lead to the values; None without any.
    """

    kind: str
    scale_factor: float
    acquisition: Acquisition
    gains: Gains | None = None

    @classmethod
    def of(cls, cube: Cube) -> Stored:
        """Return those of an open cube."""
        return cls(cube.dtype.kind, cube.scale_factor, cube.acquisition, cube.gains)

    def scaled_as(self, other: Stored) -> bool:
        """Say whether gains and scale factor are those of another file."""
        return self.scale_factor == other.scale_factor and self.gains_as(other)

    def gains_as(self, other: Stored) -> bool:
        """Say whether gains and offsets are those of another file."""
        return self.gains is None is other.gains or (
            self.gains is not None and self.gains.same_as(other.gains)
        )


@dataclass(frozen=True)
class FrameRecord:
    """One calibration frame.

    Args:
        shape: Bands, lines, samples; None where it cannot be read.
        stored: What its header says.
        digests: Checksums of its files.
        stamp: Of the same files.
        error: Why it cannot be read; empty when it can.
    """

    shape: tuple[int, int, int] | None
    stored: Stored | None
    digests: tuple[str, ...]
    stamp: Stamp
    error: str = ""


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
        stored: What its header says of its values.
        frames: The calibration frames that serve it.
    """

    file: str
    path: Path
    shape: tuple[int, int, int]
    axis_hash: str
    num_bytes: int
    checksum: str
    stamp: Stamp
    stored: Stored
    frames: FrameFiles = field(default_factory=FrameFiles)


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The cubes of a folder.

    Args:
        root: The folder.
        records: Readable cubes on one axis, sorted by file.
        axis: The axis that they share.
        problems: What did not fit, errors first.
        frames: The calibration frames that serve some record.
        left_out: Files that are another file once more, and why they are no records.
        reading: How files are read that leave something open.
    """

    root: Path
    records: tuple[CubeRecord, ...]
    axis: SpectralAxis
    problems: tuple[Problem, ...] = ()
    frames: Mapping[Path, FrameRecord] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    reading: ReadOptions = AS_THEY_ARE

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits of names, contents, labels, axis and calibration frames."""
        rows = [
            [r.file, r.checksum, r.label, r.specimen, r.view, r.date, dict(r.labels)]
            for r in self.records
        ]
        served = {record.frames.files for record in self.records}
        # Where all have the same frames it is theirs, as in version 0.1.0.
        frames: object = self.frames_checksum(self.records[0]) if served else ""
        if len(served) > 1:
            frames = [self.frames_checksum(record) for record in self.records]
        return combined([rows, self.axis.hash, frames], 16)

    def frames_checksum(self, record: CubeRecord) -> str:
        """Return the checksum of the frames that serve a cube; empty without any."""
        files = record.frames.files
        return combined([d for path in files for d in self.frames[path].digests]) if files else ""

    @property
    def label_columns(self) -> dict[str, list[str | None]]:
        """View, date and the label columns, a value for each record; None where it is unknown."""
        found: dict[str, list[str | None]] = {
            "view": [r.view for r in self.records],
            "date": [r.date for r in self.records],
        }
        for name in dict.fromkeys(name for r in self.records for name in r.labels):
            found[name] = [r.labels.get(name) for r in self.records]
        return found

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
