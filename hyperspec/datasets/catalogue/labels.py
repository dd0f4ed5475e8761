"""Where labels come from: a CSV beside the cubes, file names, folder names, or nowhere.

Each source is a plain dataclass, one option of the config key ``data.labels``, and maps the files
of a folder to their labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from hyperspec.cubes.files import bare_name
from hyperspec.datasets.catalogue.label_values import Values, spelling
from hyperspec.datasets.catalogue.name_matching import (
    MISSION_PATTERN,
    CubeNames,
    fold,
    joined,
    own_keys,
    recognised,
)
from hyperspec.utils.errors import CatalogueError
from hyperspec.utils.fields import LATER
from hyperspec.utils.foreign_paths import inside
from hyperspec.utils.text_table import Row, TextTable, read_table

_SHOWN = 5  # names in a message
FILE = "file"
# What else tables call the column that names the cubes; letter case and `_` do not matter.
FILE_COLUMNS = ("filename", "file name", "filepath", "cube", "scan", "image")


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
        problems: (file, message) of what should be mended, such as rows without a cube and cubes
            without a row; the file is ``.`` for the folder as a whole.
        notes: What else there is to say of the folder.
    """

    files: Mapping[str, FileLabels]
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


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
    """Training without labels: each file is a specimen of its own, but for what names give away."""

    def assign(self, root: Path, files: Sequence[str]) -> Assigned:
        """Give every file a specimen key; views of one animal, as names tell, share theirs."""
        keys = own_keys(root, files)
        known = recognised(root, files)
        notes = [joined(keys), None if known is None else f"has no labels, but {known}"]
        files_of = {name: FileLabels(specimen=keys[name]) for name in files}
        return Assigned(files_of, (), tuple(filter(None, notes)))


@dataclass
class Placeholders:
    """What every source of labels has."""

    placeholders: list[str] | None = field(default=None, kw_only=True, metadata=LATER)
    """Words that mean unlabelled, in any letter case; null takes the usual ones (`NA`, `n/a`, `?`,
    `unknown`, ...), `[]` none."""


@dataclass
class FolderLabels(Placeholders):
    """The name of the folder that holds a cube is its label; each file is a specimen."""

    def assign(self, root: Path, files: Sequence[str]) -> Assigned:
        """Label each file by its folder; files directly under the root stay without.

        Raises:
            CatalogueError: If no file lies in a folder.
        """
        lone = (
            "lies directly in the data folder, so it has no folder to name its label "
            "(data.labels=folder)"
        )
        folders = {name: PurePosixPath(name).parent.name for name in files}
        if files and not any(folders.values()):
            raise CatalogueError(
                f"Labels were asked for (data/labels=folder), but all {len(files)} cubes lie "
                f"directly in {root}, such as {files[0]}: no folder names a label. Put each "
                f"class into a folder, or choose another source.{_advice(root, files)}"
            )
        problems = [(name, lone) for name, folder in folders.items() if not folder]
        values = {name: {"folder": folder} for name, folder in folders.items() if folder}
        said = Values(values, "folder", "folder", "the folders' names")
        return _assigned(root, files, said, problems, self)


@dataclass
class PatternLabels(Placeholders):
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
            CatalogueError: If the pattern is no regular expression, lacks the label's group, or
                fits no file.
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
        values = {}
        for name in files:
            match = regex.fullmatch(bare_name(root / name))
            if match is not None:
                values[name] = {k: v for k, v in match.groupdict().items() if v is not None}
        if files and not values:
            raise CatalogueError(
                f"Labels were asked for (data/labels=pattern), but none of the {len(files)} file "
                f"names in {root} fits data.labels.pattern {self.pattern!r}, such as {files[0]}. "
                f"Correct the pattern, or choose another source.{_advice(root, [])}"
            )
        text = f"does not fit data.labels.pattern {self.pattern!r}, so it has no label"
        problems = [(name, text) for name in files if name not in values]
        said = Values(values, self.column, self.column, "the files' names")
        return _assigned(root, files, said, problems, self)


@dataclass
class CsvLabels(Placeholders):
    """Labels from a CSV with one row per cube: `file`, any label columns, `specimen`, `view`."""

    file: str = "labels.csv"
    """The CSV, relative to the data folder; with commas, semicolons or tabs."""
    column: str = "species"
    """The column that is the label."""
    within: str = "species"
    """Specimen numbers are unique within this column's values (numbers recur across species);
    where the CSV has no such column, within the label's."""

    def assign(self, root: Path, files: Sequence[str]) -> Assigned:
        """Label each file that has a row.

        Raises:
            CatalogueError: If the CSV is missing, is no table, lacks a column, has rows that
                contradict each other, or none that fits a file.
        """
        path = root / self.file
        if not path.is_file():
            raise _missing(path, root, files)
        try:
            table = self._read(path)
        except CatalogueError:
            if inside(root, self.file) is not None:
                raise
            # Whatever file a config of somebody else may name: what it holds is told nobody.
            raise CatalogueError(
                f"data.labels.file is {self.file}, which lies outside of {root} and is no table "
                f"with the columns 'file' and {self.column!r}. Name the CSV of the labels, or put "
                "it into that folder, where messages say what is wrong with it."
            ) from None
        rows, problems = self._matched(root, files, table)
        if files and not rows:
            raise CatalogueError(
                f"Labels were asked for (data/labels=csv), but no row of {path} fits a cube: "
                f"{_first(table)}, and cubes are called like {files[0]}. Correct the column "
                f"'file', or choose another source.{_advice(root, files)}"
            )
        if table.doubtful:
            lines = ", ".join(map(str, table.doubtful[:_SHOWN]))
            problems.append(
                (
                    ".",
                    f"has rows in {self.file} (line {lines}) where a space follows a separator, "
                    "unlike in the others. If both are part of a value, put it into quotes",
                )
            )
        problems += [
            (name, f"has no row in {self.file}, so it has no label")
            for name in files
            if name not in rows
        ]
        values = {
            name: {key: value for key, value in row.cells.items() if key != "file" and value}
            for name, row in rows.items()
        }
        within = self.within if self.within in table.columns else self.column
        said = Values(values, self.column, within, self.file)
        return _assigned(root, files, said, problems, self)

    def _read(self, path: Path) -> TextTable:
        one_line = ("file", "specimen", "view", "date", self.column, self.within)
        table = _with_files(read_table(path, FILE, one_line))
        for needed, key in (("file", "every CSV of labels"), (self.column, "data.labels.column")):
            if needed not in table.columns:
                raise CatalogueError(
                    f"The column {needed!r} (needed by {key}) is not in {path}, which has the "
                    f"columns {_listed(table.columns)}. Name one of these, or add it to the file."
                )
        return table

    def _matched(
        self, root: Path, files: Sequence[str], table: TextTable
    ) -> tuple[dict[str, Row], list[tuple[str, str]]]:
        """Return the row of each file, and what did not fit."""
        names = CubeNames(root, files)
        rows: dict[str, Row] = {}
        problems = []
        for row in table.rows:
            written, place = row.cells["file"], f"{self.file} (line {row.line})"
            found = names.find(written)
            name = found[0] if len(found) == 1 else None
            if not written:
                problems.append((".", f"has a row without a file in {place}, not used"))
            elif not found:
                problems.append((written, f"has a row in {place} but no cube"))
            elif name is None:
                text = f"has a row in {place} that fits several cubes ({', '.join(found)}), not "
                problems.append((written, f"{text}used: write folder and extension too"))
            elif name in rows:
                _check_same(name, rows[name], row, root / self.file)
                problems.append((name, f"has a second row in {place}, not used"))
            else:
                rows[name] = row
                if row.short:
                    lacks = f"that ends before {_listed(row.short)}, taken as empty"
                    problems.append((name, f"has a row in {place} {lacks}"))
                if not row.cells[self.column]:
                    problems.append((name, f"has no {self.column!r} in {place}"))
        return rows, problems


def _with_files(table: TextTable) -> TextTable:
    """Call the column that names the cubes ``file``, where there is one of the usual names."""
    named = [column for column in table.columns if fold(column) in FILE_COLUMNS]
    if FILE in table.columns or len(named) != 1:
        return table

    def renamed(columns: Iterable[str]) -> tuple[str, ...]:
        return tuple(FILE if column == named[0] else column for column in columns)

    rows = [
        replace(row, cells=dict(zip(renamed(row.cells), row.cells.values(), strict=True)))
        for row in table.rows
    ]
    return replace(table, columns=renamed(table.columns), rows=tuple(rows))


def unknown(root: Path, name: str) -> FileLabels:
    """Return the labels of a file of which nothing is known: a specimen of its own."""
    bare = PurePosixPath(name).with_name(bare_name(root / name))
    return FileLabels(specimen=str(bare))


def _assigned(
    root: Path,
    files: Sequence[str],
    values: Values,
    problems: Iterable[tuple[str, str]],
    source: Placeholders,
) -> Assigned:
    """Build labels from columns; a specimen is (species, number), since numbers recur."""
    cleaned = values.without(source.placeholders)
    numbers, as_one = values.specimens(cleaned)
    labels = {name: cleaned.of.get(name, {}).get(cleaned.column) for name in files}
    keys: dict[str, str] = {}
    for label in dict.fromkeys(labels.values()):  # views of one animal have one label
        alone = [name for name in files if labels[name] == label and name not in numbers]
        keys |= own_keys(root, alone)
    special = ("specimen", "view", "date")
    known = {}
    for name in files:
        row = cleaned.of.get(name, {})
        known[name] = FileLabels(
            specimen=numbers[name] if name in numbers else keys[name],
            label=labels[name],
            view=row.get("view"),
            date=row.get("date"),
            labels={key: value for key, value in row.items() if key not in special},
        )
    of_folder = [(".", text) for text in (*cleaned.said, *as_one, *spelling(cleaned))]
    views = joined(keys)
    return Assigned(known, (*problems, *of_folder), () if views is None else (views,))


def _check_same(name: str, first: Row, second: Row, path: Path) -> None:
    """Refuse two rows of one cube that say different things.

    Raises:
        CatalogueError: If they do.
    """
    for column, value in first.cells.items():
        other = second.cells[column]
        if column != "file" and value != other:
            raise CatalogueError(
                f"{path}: the cube {name} has two rows, in line {first.line} with {column} "
                f"{value!r} and in line {second.line} with {other!r}. Delete one, or write the "
                "folder where they are two cubes."
            )


def _first(table: TextTable) -> str:
    """Name the first of the files that a table has rows for."""
    if not table.rows:
        return "it has no rows"
    first = table.rows[0]
    return f"its rows are of files like {first.cells['file']!r} (line {first.line})"


def _missing(path: Path, root: Path, files: Sequence[str]) -> CatalogueError:
    tables = sorted(
        other.name
        for other in (root.iterdir() if root.is_dir() else ())
        if other.suffix.lower() in (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods")
    )
    there = f" The folder has {', '.join(tables[:_SHOWN])}." if tables else ""
    return CatalogueError(
        f"The labels {path} do not exist.{there} Put a CSV with the columns file, specimen, view "
        "and a label there, name another with data.labels.file, or choose data/labels=pattern, "
        f"folder or none.{_advice(root, files, none=False)}"
    )


def _advice(root: Path, files: Sequence[str], *, none: bool = True) -> str:
    """Return what the names look like, and how to do without labels."""
    known = recognised(root, files)
    looks = "" if known is None else f" The {known}."
    return looks + (" Without labels: data/labels=none." if none else "")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "(none)"
