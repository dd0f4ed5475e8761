"""How much memory the preparation of a cube takes, and what there is for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

# Of what is free when preparing begins; the rest is for everything else.
_USED_SHARE = 0.8
# A whole cube as float32, and once more while it is calibrated or its spectra are picked.
_COPIES = 2
# Bands that are read at once hold at least this much, however little memory there is: a pass over
# the file for each band would take hours.
_LEAST_BYTES = 64 * 2**20


def whole_bytes(shape: Sequence[int]) -> int:
    """Return the bytes that a cube of bands, lines, samples takes while it is prepared at once."""
    return math.prod(shape) * 4 * _COPIES


def share_memory(shapes: Iterable[Sequence[int]], num_threads: int) -> tuple[int, int]:
    """Return how many cubes may be prepared at once, 1 or more, and the bytes that each may take.

    Args:
        shapes: Bands, lines, samples of each cube.
        num_threads: Cubes at once where memory allows it.
    """
    largest = max((whole_bytes(shape) for shape in shapes), default=0)
    free = int(_USED_SHARE * free_bytes())
    fitting = max(1, min(num_threads, free // max(largest, 1)))
    return fitting, max(free // fitting, _LEAST_BYTES)


def free_bytes() -> int:
    """Return the memory that can be taken without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def band_groups(
    bands: Sequence[int], num_pixels: int, most_bytes: int | None
) -> Iterator[list[int]]:
    """Yield bands, in their order, as many at a time as may lie in memory; all without a limit."""
    step = len(bands)
    if most_bytes is not None:
        step = max(1, most_bytes // max(num_pixels * 4 * _COPIES, 1))
    for start in range(0, len(bands), step):
        yield list(bands[start : start + step])
