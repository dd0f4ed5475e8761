"""What a person should know about the files of a folder, gathered instead of raised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """Something that a user should know about a file of the folder.

    Args:
        file: Path relative to the folder; ``.`` for the folder as a whole.
        severity: ``error``: the cube is left out; ``warning``: it is used; ``note``: nothing to
            mend.
        message: What was seen and what to do.
    """

    file: str
    severity: Literal["error", "warning", "note"]
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}" if self.file != "." else f"the folder {self.message}"


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems: errors first, notes last, each by file."""
    rank = ("error", "warning", "note").index
    return sorted(problems, key=lambda p: (rank(p.severity), p.file, p.message))
