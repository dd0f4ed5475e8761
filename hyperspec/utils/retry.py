"""Do something again, with growing pauses, until it works or has taken too long."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0  # between two tries, seconds


def retry(
    call: Callable[[], T],
    seconds: float,
    *,
    is_trouble: Callable[[Exception], bool],
    waits: Callable[[Exception], object],
    gives_up: Callable[[Exception], Exception],
) -> T:
    """Return what a call returns.

    Args:
        call: What to do.
        seconds: Time after which trouble is raised; 0 tries once.
        is_trouble: Says which errors may pass; others are raised at once.
        waits: Told of the first trouble.
        gives_up: Makes of the last trouble what is raised.
    """
    deadline, pause, failed = time.monotonic() + seconds, FIRST_PAUSE, False
    while True:
        try:
            return call()
        except Exception as error:
            if not is_trouble(error):
                raise
            left = deadline - time.monotonic()
            if left <= 0:
                last = gives_up(error)
                if last is error:
                    raise
                raise last from error
            if not failed:
                waits(error)
            failed = True
        time.sleep(min(pause, max(left, 0.01)))
        pause = min(2 * pause, LONGEST_PAUSE)
