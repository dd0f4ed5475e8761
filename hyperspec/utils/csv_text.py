"""CSV files for people: nothing in them that a spreadsheet would compute.

Labels, names of files and columns come from whoever made the data; a spreadsheet takes a cell that
begins with ``=``, ``+``, ``-`` or ``@`` for a formula, which may call programs and the network
(OWASP, "CSV injection"). Such a cell gets an apostrophe in front, by which spreadsheets know a
text.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_BEGINS = (r"[=+\-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
           r"\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}]")  # fmt: skip
# Apostrophes before it count too, so that what was put in front can be taken away again.
_FORMULA = re.compile(rf"'*{_BEGINS}")
_GUARDED = re.compile(rf"'+{_BEGINS}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)


def guarded(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula; a number, also as text, as it is."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def unguarded(cell: str) -> str:
    """Return the text that :func:`guarded` was given."""
    return cell[1:] if cell[:1] == "'" and _GUARDED.match(cell) else cell


def csv_text(table: pd.DataFrame, **options: Any) -> str:
    """Return a table as CSV with texts and names of columns guarded, without its index.

    Args:
        table: The table; columns of numbers stay numbers.
        options: As ``pandas.DataFrame.to_csv`` takes them.
    """
    from pandas.api.types import is_numeric_dtype

    plain = table.rename(columns=guarded)
    for name in plain.columns:
        if not is_numeric_dtype(plain[name]):
            plain[name] = plain[name].map(guarded)
            if plain[name].map(lambda cell: isinstance(cell, str) and "\r" in cell).any():
                options.setdefault("quoting", csv.QUOTE_NONNUMERIC)  # else it would end the row
    if any("\r" in str(name) for name in plain.columns):
        options.setdefault("quoting", csv.QUOTE_NONNUMERIC)
    return str(plain.to_csv(index=False, **options))
