"""What a race did not run to the end: settings with fewer trainings than the others of their sweep.

Their jobs ended well and keep their results, and are no part of a ranking, test or picture: a mean
over the first trainings is not one over all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from hyperspec.report.variants import settings

LEFT_OUT = "LEFT OUT"  # the status of such jobs


def with_race(jobs: pd.DataFrame, first: Mapping[str, int]) -> pd.DataFrame:
    """Return jobs with the status ``LEFT OUT`` where a race left their setting out.

    Args:
        jobs: As in :class:`hyperspec.report.load.SweepData`.
        first: Trainings of each setting before the look, by sweep; 0 of a sweep that is no race.
    """
    if not any(first.values()):
        return jobs
    found = jobs.copy()
    for sweep, looked in first.items():
        own = jobs[(jobs["sweep_id"] == sweep) & (jobs["status"] == "FINISHED")]
        if not looked or own.empty:
            continue
        trained = dict(by_setting(own, settings(own)))
        counts = {name: num_trainings(group) for name, group in trained.items()}
        for name, group in trained.items():
            if counts[name] <= looked < max(counts.values()):
                found.loc[group.index, "status"] = LEFT_OUT
    return found


def by_setting(
    jobs: pd.DataFrame, names: Sequence[str]
) -> Iterator[tuple[tuple[object, ...], pd.DataFrame]]:
    """Yield strategy, number of bands and the other settings, and the jobs of each."""
    keys = ["strategy", "n", *(f"params.{name}" for name in names)]
    for key, group in jobs.groupby(keys, dropna=False):
        yield tuple(key), group


def num_trainings(jobs: pd.DataFrame) -> int:
    """Return of how many seeds and rotations jobs are."""
    return len(jobs[["seed", "rotation"]].drop_duplicates())
