"""Before a sweep of few specimens: how many are tested, what rotations cost, what margin holds."""

from __future__ import annotations

import math

from hyperspec.config.schema import Train
from hyperspec.datasets.config import Data, FolderData, label_folder
from hyperspec.evaluation.statistics.intervals import never
from hyperspec.evaluation.statistics.paired import ALPHA
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


def advise_margin(config: Train) -> str | None:
    """Return a line where no sweep of so few specimens can show two settings to do as well.

    Settings that agree on every tested specimen still differ by up to the exact bound of a rate
    that was seen in none; a margin below it decides nothing, whatever is trained. None where the
    margin can hold, of scenes and without labels.

    Raises:
        HyperspecError: If the labels cannot be read.
        OSError: If the folder cannot.
    """
    split, margin = config.data.split, config.sweep.margin
    count = num_specimens(config.data, labelled=True)
    if not count or split.group is not None:
        return None
    tested = count if split.rotate is not None else max(round(split.fractions[2] * count), 1)
    level = 1 - 2 * ALPHA
    bound = float(never(tested, level))
    if bound < margin:
        return None
    enough = math.floor(math.log(ALPHA) / math.log1p(-margin)) + 1
    return (
        f"advice: with about {tested} tested specimens no setting can be shown to do as well as "
        f"another within {100 * margin:g} points (sweep.margin={margin:g}), even if both name all "
        f"of them rightly; that takes {enough} specimens, or a margin above {bound:.3f}. Give the "
        "largest difference that does not matter to you before the first job"
    )


def num_specimens(data: Data, *, labelled: bool = False) -> int | None:
    """Return how many specimens a folder has by its names and labels; None of scenes.

    No cube is opened; with ``labelled`` specimens without a label do not count.

    Raises:
        HyperspecError: If the labels cannot be read.
    """
    if not isinstance(data, FolderData):
        return None
    files = label_folder(data).files.values()
    return len({one.specimen for one in files if not labelled or one.label is not None})
