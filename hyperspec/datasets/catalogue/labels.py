"""Where labels come from: a CSV beside the cubes, file names, folder names, or nowhere.

Each source is a plain dataclass, one option of the config key ``data.labels``, and maps the files
of a folder to their labels.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from hyperspec.cubes.files import bare_name
from hyperspec.utils.errors import CatalogueError

# The mission's files: `Genus species_<number><D|V>_<ddmmyy>.bil`; D and V are dorsal and ventral.
MISSION_PATTERN = r"(?P<label>.+)_(?P<specimen>\d+)(?P<view>[DV])_(?P<date>\d{6})"


@dataclass(frozen=True)
class FileLabels:
    """What is known of one cube besides its pixels.

    Args:
        label: The class that evaluation looks at; None when unknown.
        specimen: Key of the individual, unique in the folder; splits are grouped by it.
        view: Which side or pose, such as ``D``; None when unknown.
        date: When it was scanned, as written; None when unknown.
        labels: Every label column with its value.
    """

    specimen: str
    label: str | None = None
    view: str | None = None
    date: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Assigned:
    """Labels of a folder's files, and what did not fit.

    Args:
        files: Labels per file, keyed by its path relative to the folder, with forward slashes.
        problems: (file, message) of rows without a cube and cubes without a row.
    """

    files: Mapping[str, FileLabels]
    problems: tuple[tuple[str, str], ...] = ()


class LabelSource(Protocol):
    """Maps the cubes of a folder to their labels."""

    def assign(self, root: Path, files: Sequence[str]) -> Assigned:
        """Label the files.

        Args:
            root: The folder of the cubes.
            files: Paths of the cubes relative to ``root``, with forward slashes.
        """


@dataclass
class NoLabels:
    """Training without labels: each file is a specimen of its own."""

    def assign(self, root: Path, files: Sequence[str]) -> Assigned:
        """Give every file its own specimen key."""
        return Assigned({name: unknown(root, name) for name in files})


@dataclass
class FolderLabels:
    """The name of the folder that holds a cube is its label; each file is a specimen."""

    def assign(self, root: Path, files: Sequence[str]) -> Assigned:
        """Label each file by its folder; files directly under the root stay without."""
        known = {name: unknown(root, name) for name in files}
        lone = (
            "lies directly in the data folder, so it has no folder to name its label "
            "(data.labels=folder)"
        )
        problems = []
        for name in files:
            label = PurePosixPath(name).parent.name
            if label:
                known[name] = replace(known[name], label=label, labels={"folder": label})
            else:
                problems.append((name, lone))
        return Assigned(known, tuple(problems))


@dataclass
class PatternLabels:
    """Labels from file names by a regular expression with named groups."""

    pattern: str = MISSION_PATTERN
    """Matched against the whole file name without its extension (of a band set: its folder's name).
    The groups `specimen`, `view` and `date` have their meaning; every other named group is a label
    column."""
    column: str = "label"
    """The named group that is the label."""

    def assign(self, root: Path, files: Sequence[str]) -> Assigned:
        """Label each file whose name fits the pattern.

        Raises:
            CatalogueError: If the pattern is no regular expression, or lacks the label's group.
        """
        try:
            regex = re.compile(self.pattern)
        except re.error as error:
            raise CatalogueError(
                f"data.labels.pattern is {self.pattern!r}, which is no regular expression: {error}."
            ) from error
        if self.column not in regex.groupindex:
            raise CatalogueError(
                f"data.labels.column is {self.column!r}, but data.labels.pattern "
                f"({self.pattern!r}) has the groups {_listed(regex.groupindex)}. Name one of "
                "them, or add (?P<" + self.column + ">...) to the pattern."
            )
        known = {name: unknown(root, name) for name in files}
        problems = []
        for name in files:
            match = regex.fullmatch(bare_name(root / name))
            if match is None:
                problems.append(
                    (name, f"does not fit data.labels.pattern {self.pattern!r}, so it has no label")
                )
                continue
            groups = {key: value for key, value in match.groupdict().items() if value is not None}
            known[name] = _from_columns(known[name].specimen, groups, self.column, self.column)
        return Assigned(known, tuple(problems))


@dataclass
class CsvLabels:
    """Labels from a CSV with one row per cube: `file`, any label columns, `specimen`, `view`."""

    file: str = "labels.csv"
    """The CSV, relative to the data folder."""
    column: str = "species"
    """The column that is the label."""
    within: str = "species"
    """Specimen numbers are unique within this column's values (numbers recur across species);
    where the CSV has no such column, within the label's."""

    def assign(self, root: Path, files: Sequence[str]) -> Assigned:
        """Label each file that has a row.

        Raises:
            CatalogueError: If the CSV is missing, is no table, or lacks a column.
        """
        path = root / self.file
        columns, rows = _read_csv(path)
        for needed, key in (("file", "every CSV of labels"), (self.column, "data.labels.column")):
            if needed not in columns:
                raise CatalogueError(
                    f"The column {needed!r} (needed by {key}) is not in {path}, which has the "
                    f"columns {_listed(columns)}. Name one of these, or add it to the file."
                )
        within = self.within if self.within in columns else self.column
        wanted = _Names(files)
        known: dict[str, FileLabels] = {}
        problems = []
        for line, row in enumerate(rows, start=2):
            name = wanted.find(row["file"])
            if name is None:
                problems.append(
                    (row["file"], f"has a row in {self.file} (line {line}) but no cube")
                )
            elif name in known:
                problems.append((name, f"has a second row in {self.file} (line {line}), not used"))
            else:
                values = {key: value for key, value in row.items() if key != "file" and value}
                own_key = unknown(root, name).specimen
                known[name] = _from_columns(own_key, values, self.column, within)
                if known[name].label is None:
                    problems.append((name, f"has no {self.column!r} in {self.file} (line {line})"))
        for name in files:
            if name not in known:
                known[name] = unknown(root, name)
                problems.append((name, f"has no row in {self.file}, so it has no label"))
        return Assigned(known, tuple(problems))


def unknown(root: Path, name: str) -> FileLabels:
    """Return the labels of a file of which nothing is known: a specimen of its own."""
    bare = PurePosixPath(name).with_name(bare_name(root / name))
    return FileLabels(specimen=str(bare))


def _from_columns(own_key: str, values: Mapping[str, str], column: str, within: str) -> FileLabels:
    """Build labels from columns; a specimen is (species, number), since numbers recur."""
    number = values.get("specimen")
    species = values.get(within)
    key = own_key
    if number is not None:
        key = number if species is None else f"{species}/{number}"
    special = ("specimen", "view", "date")
    return FileLabels(
        specimen=key,
        label=values.get(column),
        view=values.get("view"),
        date=values.get("date"),
        labels={key: value for key, value in values.items() if key not in special},
    )


class _Names:
    """Finds a file by its relative path, or by its bare name where that is unique."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = set(files)
        self._by_name: dict[str, list[str]] = {}
        for name in files:
            self._by_name.setdefault(PurePosixPath(name).name, []).append(name)

    def find(self, written: str) -> str | None:
        path = written.replace("\\", "/").removeprefix("./").rstrip("/")
        if path in self._files:
            return path
        same = self._by_name.get(path, [])
        return same[0] if len(same) == 1 else None


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    if not path.is_file():
        raise CatalogueError(
            f"The labels {path} do not exist. Put a CSV with the columns file, specimen, view and "
            "a label there, name another with data.labels.file, or choose data/labels=pattern, "
            "folder or none."
        )
    try:
        # utf-8-sig: spreadsheet programs put a byte order mark in front of the first column.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, restval="")
            columns = [(name or "").strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [
                {key: value.strip() for key, value in row.items() if isinstance(value, str)}
                for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogueError(f"{path} is no UTF-8 table of comma-separated values: {error}.") from (
            error
        )
    return columns, rows


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "(none)"
