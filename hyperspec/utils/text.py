"""Small texts: names that are free, durations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator


def names(name: str) -> Iterator[str]:
    """Return a name and those that its forks take: ``x``, ``x-2``, ``x-3``, ..."""
    yield name
    for number in itertools.count(2):
        yield f"{name}-{number}"


def duration(seconds: float) -> str:
    """Return a time for a reader: seconds below two minutes, then minutes, then hours."""
    if math.isnan(seconds):
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
