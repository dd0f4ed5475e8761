"""Python's search for cycles, spared the half million objects that libraries bring."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_aside: set[str] = set()


@contextmanager
def set_aside(libraries: str) -> Iterator[None]:
    """Import libraries without a search meanwhile, and leave them out of all that come later.

    They stay for good anyhow. The searches while they are imported took a sixth of that time, and
    each later one takes milliseconds instead of half a second. What is garbage before is collected
    first, since it would stay for good too. Once per process and name; then it does nothing.
    """
    if libraries in _aside:
        yield
        return
    _aside.add(libraries)
    gc.collect()
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if searched:
            gc.enable()
