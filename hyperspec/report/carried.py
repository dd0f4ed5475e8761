"""Which wavelengths carry it: windows of the best setting and of all bands, as typed results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hyperspec.evaluation.importance.standing_out import StandingOut, find_standing_out
from hyperspec.evaluation.importance.swaps import read_swaps
from hyperspec.evaluation.statistics.variance import Floats
from hyperspec.report.load import SweepData, unit_of
from hyperspec.report.summary import Point, Summary

_WHOLE = "full"


@dataclass(frozen=True)
class Carried:
    """What one setting's encoders lean on.

    Args:
        point: The setting.
        found: Its windows.
        num_measured: Encoders that were measured, of the setting's jobs.
        told_by_chance: Whether the setting's accuracy is not above guessing, so that no window of
            it can carry anything.
    """

    point: Point
    found: StandingOut
    num_measured: int
    told_by_chance: bool = False

    @property
    def stands_out(self) -> bool:
        """Whether any window does."""
        return bool(self.found.stretches) and not self.told_by_chance


def chosen_points(summary: Summary) -> list[Point]:
    """Return the setting that validation puts first, and the best one of ``full``."""
    if not summary.points or not summary.accuracies:
        return []
    whole = [point for point in summary.points if point.strategy == _WHOLE]
    first = summary.points[0]
    return [first, *(point for point in whole[:1] if point is not first)]


def carried(data: SweepData, summary: Summary) -> tuple[Carried, ...]:
    """Return what is known of the best setting and of all bands; empty where nothing was measured.

    Test images of all rotations of a seed are one row; a window counts as not read, 0, for an
    encoder whose bands leave it out.
    """
    made = (_of_point(data, summary, point) for point in chosen_points(summary))
    return tuple(one for one in made if one is not None)


def _of_point(data: SweepData, summary: Summary, point: Point) -> Carried | None:
    jobs = data.finished[data.finished["run_id"].isin(point.run_ids)]
    grid, seen = None, []
    for job in jobs.to_dict("records"):
        table = data.swaps(str(job["run_id"]))
        read = None if table is None else read_swaps(table)
        if table is None or read is None:
            continue
        own, values = read
        if grid is None:
            grid = own
        elif not np.array_equal(grid.starts_nm, own.starts_nm):
            continue  # of another width, measured by another command
        seen.append((job["seed"], job.get("rotation", np.nan), table, values))
    if grid is None:
        return None
    told, lost, units, folds = _crossed(seen)
    found = find_standing_out(grid, told, lost, units, folds)
    score = point.scores.get(summary.accuracies[0].key)
    guessed = score is not None and bool(score.low <= summary.majority)
    return Carried(point, found, len(seen), guessed)


def _crossed(
    seen: list[tuple[float, float, pd.DataFrame, Floats]],
) -> tuple[Floats, Floats, list[str], list[int] | None]:
    """Lay tables side by side: ``told`` and ``lost`` as seeds × windows × images."""
    files: dict[str, tuple[int, str]] = {}
    rotation: dict[str, set[float]] = {}
    for _, turn, table, _ in seen:
        for file, unit in zip(table["file"], unit_of(table), strict=True):
            files.setdefault(file, (len(files), unit))
            rotation.setdefault(unit, set()).add(turn)
    seeds = sorted({seed for seed, *_ in seen})
    num_windows = seen[0][3].shape[1]
    values = np.full((2, len(seeds), num_windows, len(files)), np.nan)
    for seed, _, table, own in seen:
        places = [files[file][0] for file in table["file"]]
        values[:, seeds.index(seed), :, places] = own.transpose(2, 0, 1)
    units = [unit for _, unit in files.values()]
    steady = all(len(turns) == 1 and not np.isnan(min(turns)) for turns in rotation.values())
    folds = [int(min(rotation[unit])) for unit in units] if steady else None
    return values[0], values[1], units, folds
