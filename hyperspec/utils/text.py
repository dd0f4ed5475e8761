"""Small texts: names that are free, durations, addresses without passwords."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator

_SECRETS = (
    (re.compile(r"(://[^\s/:@'\"]*):[^\s@'\"]*@"), r"\1@"),
    (re.compile(r"([?&](?:password|passwd|sslpassword|token)=)[^\s&'\"]*", re.I), r"\1***"),
)


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


def without_secrets(text: str) -> str:
    """Return a text whose addresses (``scheme://user:password@host``) have no passwords."""
    for pattern, shown in _SECRETS if "://" in text else ():
        text = pattern.sub(shown, text)
    return text
