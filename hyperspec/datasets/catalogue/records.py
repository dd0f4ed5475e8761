"""What a catalogue holds: a record per cube, problems, and the axis that the cubes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hyperspec.datasets.catalogue.checksums import Stamp, combined
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.utils.errors import CatalogueError

if TYPE_CHECKING:
    import pandas as pd


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


@dataclass(frozen=True)
class CubeRecord:
    """One readable cube.

    Args:
        file: Path relative to the catalogue's root, with forward slashes.
        path: The data file.
        label: The class that evaluation looks at; None when unknown.
        specimen: Key of the individual, unique in the catalogue.
        view: Side or pose; None when unknown.
        date: Date of the scan as written; None when unknown.
        labels: Every label column.
        shape: Bands, lines, samples.
        axis_hash: Hash of the cube's own axis.
        num_bytes: Size of the data file.
        checksum: Of data file, header and mask image.
        stamp: Of the same files, taken before the checksum; a file that changes later is noticed.
    """

    file: str
    path: Path
    label: str | None
    specimen: str
    view: str | None
    date: str | None
    labels: Mapping[str, str]
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
        for record in self.records:
            bands, lines, samples = record.shape
            row: dict[str, str | int | None] = {
                "file": record.file,
                "label": record.label,
                "specimen": record.specimen,
                "view": record.view,
                "date": record.date,
                "num_bands": bands,
                "num_lines": lines,
                "num_samples": samples,
                "num_bytes": record.num_bytes,
                "axis_hash": record.axis_hash,
                "checksum": record.checksum,
            }
            rows.append({**record.labels, **row})
        table = pd.DataFrame(rows)
        own = list(row)
        return table[own[:5] + [c for c in table.columns if c not in own] + own[5:]]

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
