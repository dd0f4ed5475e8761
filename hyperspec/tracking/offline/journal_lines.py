"""Lines of a run's journal: read from a file that may be torn, damaged or somebody else's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Entry = dict[str, Any]  # as JSON has it

UNREADABLE = "unreadable"  # the kind of a line without what its own kind is read for
_LARGEST = 2**63  # of whole numbers, in the databases that MLflow writes to
_ENDS = ("FINISHED", "FAILED", "KILLED")


def read_lines(path: Path) -> list[Entry]:
    """Return all lines of a journal.

    A line torn by a crash or a full disk is left out. One that is whole, but lacks what its kind is
    read for, is of the kind :data:`UNREADABLE` and has its content in ``line``: whoever sends the
    others puts it aside.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found: list[Entry] = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("seq"), int) and "op" in entry:
            fits = _fits(entry)
            found.append(entry if fits else {"seq": entry["seq"], "op": UNREADABLE, "line": line})
    return found


def is_texts(value: object) -> bool:
    """Say whether a value is a dict of texts."""
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _fits(entry: Entry) -> bool:
    """Say whether a line has fields of the types that it is read for."""
    metrics, rows = entry.get("metrics", {}), entry.get("rows", [])
    return (
        isinstance(entry["op"], str)
        and is_texts(entry.get("tags", {}))
        and is_texts(entry.get("params", {}))
        and isinstance(metrics, dict)
        and all(map(_is_number, metrics.values()))
        and isinstance(rows, list)
        and all(map(_is_row, rows))
        and _has_own_fields(entry)
    )


def _has_own_fields(entry: Entry) -> bool:
    def get(name: str) -> Any:
        return entry.get(name)

    match entry["op"]:
        case "artifact":
            return isinstance(get("file"), str) and isinstance(get("folder"), str | None)
        case "copy":
            texts = [get("source"), *(get("whole") if isinstance(get("whole"), list) else [])]
            return isinstance(get("until_step"), int | None) and all(
                isinstance(text, str) for text in texts
            )
        case "datasets":
            return isinstance(get("inputs"), list) and all(map(_is_input, get("inputs")))
        case "end":
            return get("status") in _ENDS and _is_whole(get("time_ms"))
    return True  # kinds of later versions


def _is_input(found: object) -> bool:
    return (
        isinstance(found, dict) and is_texts(found.get("dataset")) and is_texts(found.get("tags"))
    )


def _is_row(row: object) -> bool:
    """Say whether this is name, value, time in ms, and step."""
    if not isinstance(row, list) or len(row) != 4:
        return False
    name, value, time_ms, step = row
    return isinstance(name, str) and _is_number(value) and _is_whole(time_ms) and _is_whole(step)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and abs(value) < _LARGEST


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_whole(value)
