"""What a catalogue holds: a record per cube, problems, and the axis that the cubes share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cubes.read_options import AS_THEY_ARE, ReadOptions
from hyperspec.datasets.catalogue.checksums import Stamp, combined
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
        reading: How files are read that leave something open.
    """

    root: Path
    records: tuple[CubeRecord, ...]
    axis: SpectralAxis
    problems: tuple[Problem, ...] = ()
    white: Path | None = None
    dark: Path | None = None
    frames_checksum: str = ""
    frames_stamps: tuple[tuple[Path, Stamp], ...] = ()
    reading: ReadOptions = AS_THEY_ARE

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits of names, contents, labels, axis and calibration frames."""
        rows = [
            [r.file, r.checksum, r.label, r.specimen, r.view, r.date, dict(r.labels)]
            for r in self.records
        ]
        return combined([rows, self.axis.hash, self.frames_checksum], 16)

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
