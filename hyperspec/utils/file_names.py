"""Names of files that every system takes: Windows forbids some that others allow."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

# Whether two names that differ in letter case alone are one file here, as they usually are.
FOLDS_CASE = os.name == "nt" or sys.platform == "darwin"
# Naming Files, Paths, and Namespaces, learn.microsoft.com/windows/win32/fileio/naming-a-file
_MARKS = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])", re.IGNORECASE)


def as_file_name(text: str) -> str:
    """Return a text, such as the name of a column, that can be a file's name on any system."""
    name = _MARKS.sub("_", text)
    ended = name.rstrip(". ")
    name = ended + "_" * (len(name) - len(ended))
    return f"_{name}" if _is_device(name) else name


def why_refused(name: str) -> str | None:
    """Return what Windows has against the name of a file or folder; None where it takes it."""
    if (mark := _MARKS.search(name)) is not None:
        return f"it has a {mark[0]!r}"
    if name != name.rstrip(". ") and name not in (".", ".."):
        return "it ends with a dot or a space"
    return "it is the name of a device" if _is_device(name) else None


def distinct(names: Sequence[str]) -> list[str]:
    """Return paths with forward slashes that stay apart where letter case does not count.

    The first of several keeps its name, the others get a number before the extension.
    """
    taken = {name.casefold() for name in names}
    seen, found = set[str](), list[str]()
    for name in names:
        number, free = 1, name
        stem, dot, ending = name.rpartition(".")
        while free.casefold() in seen or (number > 1 and free.casefold() in taken):
            number += 1
            free = f"{stem}-{number}{dot}{ending}"
        seen.add(free.casefold())
        found.append(free)
    return found


def _is_device(name: str) -> bool:
    return _DEVICES.fullmatch(name.partition(".")[0].rstrip(" ")) is not None
