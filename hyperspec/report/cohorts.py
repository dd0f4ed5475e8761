"""Jobs that may be ranked with each other: one objective, the same specimens, labels and split.

An accuracy and a RankMe, or accuracies before and after labels were mended, are numbers of
different things. Each such cohort has a ranking, tests and charts of its own; what is alike in
several is shown side by side (:mod:`hyperspec.report.cohort_report`) and never averaged.
"""

from __future__ import annotations

import string
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hyperspec.evaluation.metrics import METRICS, leading, natural_direction
from hyperspec.report.load import SweepData
from hyperspec.report.variants import follows_the_seed, is_free, text_of
from hyperspec.tracking.contract import MetricName

_SPLIT, _DATA = "params.data.split.", "params.data."
# Of the data settings, those that do not change what an image is.
_NO_PREPARATION = {"split", "labels", "confounders", "normalisation", "store", "verify"}
_NO_PREPARATION |= {"num_cubes", "num_specimens"}
_RULER = "params.evaluation.k"  # another k is another measure
_SHORT = 6


@dataclass(frozen=True)
class Cohort:
    """Jobs that may be ranked with each other.

    Args:
        letter: ``A``, ``B``, ...; empty where there is one cohort only.
        words: What it differs in from the others; empty where there are none.
        data: Its jobs, the failed ones aside.
    """

    letter: str
    words: str
    data: SweepData

    @property
    def title(self) -> str:
        """Letter and words."""
        return f"{self.letter}: {self.words}" if self.letter else ""

    @property
    def num_jobs(self) -> int:
        """How many of its jobs have finished."""
        return len(self.data.finished)


@dataclass
class _Found:
    """A cohort while it is gathered: what is known of its data and its split.

    Of each way of preparing images there is one hash of the data, and of each way of dealing
    specimens one hash of the split; a second one is other data.
    """

    key: tuple[str, ...]
    data: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    roots: set[str] = field(default_factory=set)
    jobs: list[object] = field(default_factory=list)

    def likeness(self, row: Mapping[Hashable, Any]) -> int:
        """Return how much speaks for a job's belonging here; -1 where something speaks against."""
        known = [
            (self.data.get(row["preparation"]), row["data_hash"]),
            (self.splits.get(row["deal"]), row["split_hash"]),
        ]
        if self.key != _key(row) or any(seen not in (None, own) for seen, own in known):
            return -1
        return 2 * sum(seen is not None for seen, _ in known) + (row["root"] in self.roots)

    def take(self, job: Hashable, row: Mapping[Hashable, Any]) -> None:
        """Add a job, by its place in the table."""
        self.data[row["preparation"]] = row["data_hash"]
        self.splits[row["deal"]] = row["split_hash"]
        self.roots.add(row["root"])
        self.jobs.append(job)


def divide(data: SweepData) -> tuple[Cohort, ...]:
    """Divide jobs into cohorts, by the start of their first job; one where all belong together.

    Jobs that did not finish are in the cohort of those of their sweep that are asked alike.
    """
    facts = _facts(data.finished)
    found: list[_Found] = []
    for job, row in zip(facts.index, facts.to_dict("records"), strict=True):
        likeness = [one.likeness(row) for one in found]
        best = max(likeness, default=-1)
        if best < 0:
            found.append(_Found(_key(row)))
            found[-1].take(job, row)
        else:  # of equals the latest: data are mended, not spoilt
            found[len(found) - 1 - likeness[::-1].index(best)].take(job, row)
    if len(found) < 2:
        return (Cohort("", "", data),)
    words = _words([facts.loc[one.jobs] for one in found])
    return tuple(
        Cohort(_letter(place), words[place], _part(data, facts, one))
        for place, one in enumerate(found)
    )


def _key(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    return row["objective"], row["ruler"], row["split"]


def _facts(jobs: pd.DataFrame) -> pd.DataFrame:
    """Return for each finished job, by its start, what decides with which it may be ranked."""
    prepared = [
        column
        for column in jobs.columns
        if column.startswith(_DATA)
        and column.removeprefix(_DATA).split(".")[0] not in _NO_PREPARATION
        and not is_free(column.removeprefix("params."))
    ]
    dealt = [c for c in jobs.columns if c.startswith(_SPLIT) and c != f"{_SPLIT}rotation"]
    split, seed = jobs[dealt].copy(), f"{_SPLIT}seed"
    for _, sweep in jobs.groupby(text_of(jobs, "sweep_id")) if seed in jobs else ():
        if sweep["seed"].nunique() > 1 and follows_the_seed(sweep, "data.split.seed"):
            split.loc[sweep.index, seed] = "the seed"
    return pd.DataFrame(
        {
            "objective": objectives(jobs),
            "ruler": text_of(jobs, _RULER),
            "split": _joined(split),
            "preparation": _joined(jobs[prepared]),
            "deal": text_of(jobs, seed) + "/" + text_of(jobs, "rotation"),
            "data_hash": text_of(jobs, "data_hash"),
            "split_hash": text_of(jobs, "split_hash"),
            "root": text_of(jobs, f"{_DATA}root"),
            "start": jobs.get("start", pd.NaT),
        },
        index=jobs.index,
    ).sort_values("start", kind="stable")


def _joined(jobs: pd.DataFrame) -> pd.Series[str]:
    """Return for each job its columns as one text, such as ``data.size=32 data.mask=auto``."""
    found = pd.Series("", index=jobs.index, dtype=object)
    for column in jobs.columns:
        word = f"{column.removeprefix('params.')}=" + text_of(jobs, column)
        found = found + word.where(jobs[column].notna(), "") + "\n"
    return found


def objectives(jobs: pd.DataFrame) -> pd.Series[str]:
    """Return for each job which metric its objective is, of several the first.

    By the job's tag, the config's word, or the metric of equal values among jobs of one sweep that
    measured the same; of a job that reached none, what its sweep judges by.
    """
    value = f"metrics.{MetricName.OBJECTIVE}"
    usual = [row.name for row in METRICS.values() if row.column or row.name in leading()]
    measured = [f"val/{one}" for one in usual if f"metrics.val/{one}" in jobs]
    word = text_of(jobs, "params.objective")
    word = word.where(~word.str.startswith("[") & (word != "auto"), "")
    given = text_of(jobs, "objectives").str.split(",").str[0]
    named = given.where(given != "", word)
    found = named.copy()
    seen = jobs[[f"metrics.{name}" for name in measured]].notna()
    keys = [named, text_of(jobs, "sweep_id"), text_of(jobs, "data_hash"), _joined(seen)]
    for (name, *_), group in jobs.groupby(keys) if value in jobs else ():
        found[group.index] = str(name) or _equal_metric(group, value, measured)
    known = found.mask(found == "")
    of_sweep = known.groupby([text_of(jobs, "sweep_id"), word])
    only = of_sweep.transform("first").where(of_sweep.transform("nunique") == 1)
    if value in jobs:
        only = only.where(jobs[value].isna())
    return known.fillna(only).fillna(str(MetricName.OBJECTIVE))


def _equal_metric(jobs: pd.DataFrame, value: str, measured: Sequence[str]) -> str:
    for name in measured:
        pair = jobs[[value, f"metrics.{name}"]].dropna(subset=[value])
        if len(pair) and np.allclose(pair.iloc[:, 0], pair.iloc[:, 1], equal_nan=False):
            return name
    return ""


def objective_name(jobs: pd.DataFrame) -> str:
    """Say which metric the objective of a cohort's jobs is; ``objective`` where that is open."""
    names = set(objectives(jobs))
    return names.pop() if len(names) == 1 else str(MetricName.OBJECTIVE)


def best_job(data: SweepData) -> pd.Series | None:
    """Return the finished job with the highest objective, the lowest of a loss.

    None without a score, and where not all jobs may be ranked with each other.
    """
    value = f"metrics.{MetricName.OBJECTIVE}"
    if value not in data.finished or len(divide(data)) > 1:
        return None
    scored = data.finished.dropna(subset=[value])
    if scored.empty:
        return None
    less = natural_direction(objective_name(scored)) == "minimize"
    return scored.iloc[int(scored[value].argmin() if less else scored[value].argmax())]


def _letter(place: int) -> str:
    letters = string.ascii_uppercase
    return letters[place % 26] + (str(place // 26) if place >= 26 else "")


def _part(data: SweepData, facts: pd.DataFrame, one: _Found) -> SweepData:
    """Return a cohort's jobs, with those of its sweeps that did not finish and were asked alike."""
    jobs, own = data.jobs, data.jobs.index.isin(one.jobs)
    asked = [c for c in ("sweep_id", "params.objective", "data_hash", "split_hash") if c in jobs]
    texts = pd.Series(
        ["\n".join(row) for row in zip(*(text_of(jobs, c) for c in asked), strict=True)],
        index=jobs.index,
    )
    open_ones = ~data.jobs.index.isin(facts.index) & texts.isin(texts[own])
    kept = jobs[own | open_ones]
    sweeps = tuple(info for info in data.sweeps if info.run_id in set(kept["sweep_id"]))
    return replace(data, sweeps=sweeps, jobs=kept.reset_index(drop=True))


def _words(parts: Sequence[pd.DataFrame]) -> list[str]:
    """Return for each cohort what it differs in from the others."""
    said: list[list[str]] = [[] for _ in parts]
    for facet, name in (("objective", "judged by {}"), ("ruler", "evaluation.k={}")):
        values = [str(part[facet].iloc[0]) for part in parts]
        if len(set(values)) > 1:
            for own, value in zip(said, values, strict=True):
                own.append(name.format(value or "not kept"))
    deals = [set(part["split"].iloc[0].split("\n")) for part in parts]
    shared = set.intersection(*deals)
    for own, deal in zip(said, deals, strict=True):
        own += sorted(deal - shared)
    if len({frozenset(part["data_hash"]) for part in parts}) > 1:
        for own, part in zip(said, parts, strict=True):
            own.append(_of_files(part, "data_hash", "data and labels"))
    if len({", ".join(own) for own in said}) < len(said):  # nothing else tells some of them apart
        for own, part in zip(said, parts, strict=True):
            own.append(_of_files(part, "split_hash", "split"))
    return [", ".join(own) for own in said]


def _of_files(part: pd.DataFrame, facet: str, name: str) -> str:
    """Return such as ``data and labels 3f2a91 of specimens (9 May 14:05)``, since when it is so."""
    first = part.iloc[0]
    text = f"{name} {first[facet][:_SHORT] or 'not kept'}"
    if part[facet].nunique() > 1:
        text += f" and {part[facet].nunique() - 1} more"
    root = Path(first["root"]).name
    since = first["start"]
    when = "" if pd.isna(since) else f" ({since.day} {since.strftime('%b %H:%M')})"
    return text + (f" of {root}" if root else "") + when
