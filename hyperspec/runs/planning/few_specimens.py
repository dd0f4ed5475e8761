"""Before a sweep of few specimens: how many one split tests, and what rotations would cost."""

from __future__ import annotations

import math
from pathlib import Path

from hyperspec.config.schema import Train
from hyperspec.cubes.frames import sort_files
from hyperspec.datasets.catalogue.discover import find_cubes
from hyperspec.datasets.config import Data, FolderData
from hyperspec.utils.text import duration

FEW = 100  # specimens below which a quarter of them decides hardly any comparison
_PARTS = 4  # tests as many at once as the usual split, a quarter, and trains on as many


def advise_rotations(config: Train, num_jobs: int, seconds: float) -> str | None:
    """Return a line that advises rotations with their cost; None with many specimens or rotations.

    Args:
        config: One of the sweep's jobs.
        num_jobs: Jobs of the sweep as it was asked for.
        seconds: What they will take; NaN if unknown.

    Raises:
        HyperspecError: If the labels cannot be read.
        OSError: If the folder cannot.
    """
    split = config.data.split
    count = num_specimens(config.data)
    if split.rotate is not None or count is None or count >= FEW:
        return None
    tested = max(round(split.fractions[2] * count), 1)
    time = "" if math.isnan(seconds) else f", about {duration(_PARTS * seconds)}"
    return (
        f"advice: {count} specimens are few, and one split tests about {tested} of them. "
        f"data.split.rotate={_PARTS} tests each of them once, for {_PARTS} times the jobs "
        f"({_PARTS * num_jobs} instead of {num_jobs}{time})"
    )


def num_specimens(data: Data) -> int | None:
    """Return how many specimens a folder has by its names and labels; None of scenes.

    No cube is opened.

    Raises:
        HyperspecError: If the labels cannot be read.
    """
    if not isinstance(data, FolderData):
        return None
    root = Path(data.root)
    files, _ = find_cubes(root, data.pattern)
    specimens = sort_files(root, files, data.white, data.dark).specimens
    names = [path.relative_to(root).as_posix() for path in specimens]
    assigned = data.labels.assign(root, names)
    return len({known.specimen for known in assigned.files.values()})
