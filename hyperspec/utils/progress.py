"""Who may draw on the terminal, and a progress bar on standard error when that is one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Set while a sweep has a view of its own, for its jobs in this process and in others.
OWN_VIEW = "HYPERSPEC_SWEEP_VIEW"


def bars_wanted() -> bool:
    """Say whether a progress bar has a terminal to itself."""
    return sys.stderr.isatty() and OWN_VIEW not in os.environ


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar such as ``Reading cubes`` while the block runs; give what counts one item."""
    if not total or not bars_wanted():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
