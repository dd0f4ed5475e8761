"""A table of texts: the bytes of a text file become columns and rows that know their line.

Read as spreadsheets write it: commas, semicolons or tabs, byte-order marks, UTF-16, a first line
``sep=;``, ``="01"``. What could shift a value into another column is refused.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperspec.utils.errors import CatalogueError

_SEPARATORS: Final = (",", ";", "\t")
# UTF-32 first: its mark begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
# What workbooks begin with: .xlsx and .ods are zip archives, .xls is an OLE file.
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_SHOWN = 5  # lines that a message names


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        line: Its first line in the file, from 1.
        cells: Value by column, without spaces at either end; empty where there is none.
        short: Columns that the row ends before.
    """

    line: int
    cells: Mapping[str, str]
    short: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextTable:
    """What a table holds.

    Args:
        columns: Its columns that have names.
        rows: Its rows in the order of the file; rows without any value are left out.
        doubtful: Lines where some separators, unlike those of other rows, have a space after them:
            are they part of a value?
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    doubtful: tuple[int, ...] = ()


def read_table(path: Path, needed: str, one_line: Sequence[str]) -> TextTable:
    """Read a table.

    Args:
        path: The file.
        needed: A column that tells the separator: the one with which this column is there.
        one_line: Columns whose values have no line breaks.

    Raises:
        CatalogueError: If it is no text, a column comes twice, rows have more cells than there are
            columns, or a quote is not closed; with the numbers of the lines.
    """
    text = _decoded(path)
    skipped = 0
    separator = _declared_separator(text)
    if separator is not None:
        text, skipped = text.partition("\n")[2], 1
    separator = separator or _separator(text, needed)
    rows = _rows(text, separator, path, skipped)
    first = next(rows, (1, []))
    names = [unicodedata.normalize("NFC", _clean(name)) for name in first[1]]
    _check_columns(names, first[0], path)
    found = [(line, [_clean(cell) for cell in cells]) for line, cells in rows]
    _check_surplus(names, found, path)
    made = tuple(
        Row(
            line,
            {name: cell for name, cell in zip(names, _filled(cells, names), strict=True) if name},
            tuple(name for name in names[len(cells) :] if name),
        )
        for line, cells in found
    )
    _check_breaks(made, one_line, path)
    doubtful = _spaced(text, separator, [row.line - skipped for row in made])
    return TextTable(
        tuple(name for name in names if name), made, tuple(line + skipped for line in doubtful)
    )


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror or error}.") from error
    if content.startswith(_WORKBOOKS):
        raise CatalogueError(
            f"{path} is a workbook of a spreadsheet program, not a text. Save the sheet as 'CSV "
            "UTF-8' and name that file (data.labels.file)."
        )
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None:
        # UTF-16 without a mark: every other byte of Latin letters is 0.
        ways = (("utf-16-le", content[1::2]), ("utf-16-be", content[::2]))
        encoding = next((way for way, half in ways if half.count(0) > len(half) / 2), None)
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        seen = content[error.start : error.start + 1].hex()
        raise CatalogueError(
            f"{path} is no UTF-8 table: the byte 0x{seen} in line {line} is not valid "
            f"{encoding or 'UTF-8'}. Save it once more as 'CSV UTF-8'."
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise CatalogueError(f"{path} is no UTF-8 table: line {line} has a null byte.")
    return text


def _declared_separator(text: str) -> str | None:
    """Return the separator of a first line ``sep=;``, which Excel reads and writes."""
    declared = re.match(r'"?sep=(.)"?[,;\t]*\r?\n', text, re.IGNORECASE)
    return declared[1] if declared else None


def _separator(text: str, needed: str) -> str:
    """Return the separator with which the needed column is there, and most others."""
    lines = (line for line in text.splitlines() if line.strip())
    first = next(lines, "")

    def score(separator: str) -> tuple[bool, int]:
        names = [name.strip(' "') for name in first.split(separator)]
        return needed in names, len(names)

    return max(_SEPARATORS, key=score)


def _rows(text: str, separator: str, path: Path, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the cells of each row that has a value."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    while True:
        line = reader.line_num + 1 + skipped
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CatalogueError(
                f"{path}, line {line}: a quote is opened and not closed before the next value "
                f"({error}). Close it, or write a quote inside of a value twice."
            ) from error
        if any(cell.strip() for cell in cells):
            yield line, cells


def _spaced(text: str, separator: str, rows: Sequence[int]) -> list[int]:
    """Return the first lines of rows with a space after a separator where most have none."""
    lines = re.split(r"\r\n|\r|\n", text)
    # Within quotes it is part of a value for sure.
    bare = {line: re.sub(r'"[^"]*"', "", lines[line - 1]) for line in rows}
    found = [line for line, content in bare.items() if f"{separator} " in content]
    return found if separator != "\t" and len(found) < len(rows) else []


def _clean(cell: str) -> str:
    r"""Take spaces and invisible marks off a value, and Excel's way to keep text (`="01"`)."""
    text = cell.strip().strip("\ufeff\u200b").strip()
    kept = re.fullmatch(r'="(.*)"', text)
    return kept[1].strip() if kept else text


def _filled(cells: Sequence[str], names: Sequence[str]) -> list[str]:
    return [*cells, *[""] * len(names)][: len(names)]


def _check_columns(names: Sequence[str], line: int, path: Path) -> None:
    counts = Counter(name.casefold() for name in names if name)
    twice = [name for name in names if counts[name.casefold()] > 1]
    if twice:
        listed = ", ".join(f"{i} ({n!r})" for i, n in enumerate(names, start=1) if n in twice)
        raise CatalogueError(
            f"{path}, line {line}: the column {twice[0]!r} is there {len(twice)} times, as columns "
            f"{listed}. Which one counts nobody can tell: rename or delete the others."
        )


def _check_surplus(names: Sequence[str], rows: Sequence[tuple[int, list[str]]], path: Path) -> None:
    """Refuse values beyond the named columns; the first may lack a name, as pandas writes it."""

    def surplus(cells: Sequence[str]) -> list[str]:
        beyond = [c for c, n in zip(cells[1:], names[1:], strict=False) if not n]
        return [cell for cell in (*beyond, *cells[len(names) :]) if cell]

    wrong = [(line, cells) for line, cells in rows if surplus(cells)]
    if wrong:
        num_named = len(names) - sum(not name for name in names)
        lines = ", ".join(str(line) for line, _ in wrong[:_SHOWN])
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise CatalogueError(
            f"{path}: line{'s' * (len(wrong) > 1)} {lines}{more} hold"
            f"{'s' * (len(wrong) == 1)} more values than the {num_named} columns have names "
            f"(line {wrong[0][0]}: {' | '.join(wrong[0][1])}). A separator inside of a value? Put "
            'such a value into quotes ("Morpho, helena"), or name the column.'
        )


def _check_breaks(rows: Sequence[Row], columns: Sequence[str], path: Path) -> None:
    for row in rows:
        for name in columns:
            value = row.cells.get(name, "")
            if "\n" in value or "\r" in value:
                first = value.splitlines()[0]
                raise CatalogueError(
                    f"{path}, line {row.line}: the value of {name!r} that begins with {first!r} "
                    f"runs over {len(value.splitlines())} lines. Is its quote not closed? Close "
                    "it, or take the line breaks out."
                )
