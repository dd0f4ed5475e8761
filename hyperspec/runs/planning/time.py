"""What a sweep will cost, before its first job: time from earlier runs, and disk.

A run is of the same shape as a job when model, batch, image size and hardware settings are equal,
on the same machine and folder. Training time per epoch is taken from such runs, as a straight line
over the number of bands; what a job takes beyond its training is their mean.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from hyperspec.config.schema import Train
from hyperspec.runs.planning.disk import DiskNeed, disk_text
from hyperspec.runs.planning.few_specimens import advise_margin, advise_rotations
from hyperspec.tracking.client import experiment_name, resolve_uri
from hyperspec.tracking.contract import MetricName, Param, Tag
from hyperspec.tracking.health import has_experiment
from hyperspec.tracking.names import flatten
from hyperspec.tracking.reader import open_reader
from hyperspec.tracking.record import RunRecord, to_number
from hyperspec.tracking.retry import store_errors
from hyperspec.utils.errors import HyperspecError, TrackingError
from hyperspec.utils.process import host_name
from hyperspec.utils.text import duration

log = logging.getLogger(__name__)

_LOOKED_AT = 1000  # newest finished runs
_SHAPE = ("model.", "head.", "hardware.", "views.")
_SHAPE_WORDS = ("batch_size", "data.size", "data.root")


@dataclass(frozen=True)
class Seen:
    """An earlier run: its shape is what its time depends on besides bands and epochs.

    ``train_seconds`` are those of its training, ``seconds`` those of the whole job.
    """

    shape: tuple[tuple[str, str], ...]
    n: float
    epochs: float
    train_seconds: float
    seconds: float


@dataclass(frozen=True)
class TimeForecast:
    """Seconds of all jobs one after the other (NaN if unknown), and where that comes from."""

    seconds: float
    source: str


Need = Callable[[Any], DiskNeed]


def predict(config: DictConfig, checked: Sequence[object], num_jobs: int, need: Need | None) -> str:
    """Say how long a sweep's jobs will take and what they will write, a line each.

    Where the specimens are few, a third line advises rotations.

    ``checked`` are the configs of the jobs that were composed; ``need`` says what a job writes,
    None leaves the disk out.
    """
    base = Path(config.hydra.runtime.cwd)
    seen = earlier_runs(config.tracking.uri, config.tracking.experiment, base)
    found = forecast_time([flatten(one) for one in checked], num_jobs, seen)
    given = OmegaConf.select(config, "hydra.launcher.n_jobs")
    at_once = given if isinstance(given, int) and given > 0 else 1
    workers = min(at_once, num_jobs)
    lines = [time_text(found, num_jobs, workers)]
    lines += [told] if (told := importance_text(checked)) else []
    if need is not None and checked:
        try:
            folder = base / str(config.hydra.sweep.dir)
            lines.append(disk_text(need(checked[0]), num_jobs, folder))
        except (HyperspecError, OSError) as error:  # the first job will say it in its own words
            lines.append(f"disk: unknown ({error})")
    if checked and isinstance(checked[0], Train):
        try:
            rotations = advise_rotations(checked[0], num_jobs, found.seconds / workers)
            lines += [line for line in (rotations, advise_margin(checked[0])) if line]
        except (HyperspecError, OSError) as error:
            log.debug("specimens were not counted: %s", error)
    return "\n".join(lines)


def importance_text(checked: Sequence[object]) -> str:
    """Say how long the end of the sweep may take to tell which wavelengths carry it."""
    first = checked[0] if checked else None
    if not isinstance(first, Train) or first.evaluation.importance is False:
        return ""
    if not first.sweep.report:
        return ""
    most = duration(first.evaluation.importance_seconds)
    return (
        f"after the jobs: at most {most} for which wavelengths carry it "
        "(evaluation.importance=false leaves it out)"
    )


def forecast_time(
    jobs: Sequence[Mapping[str, str]], num_jobs: int, seen: Sequence[Seen]
) -> TimeForecast:
    """Predict the time of a sweep from the flat configs of the jobs that were composed.

    The others of its ``num_jobs`` count with their mean.
    """
    by_shape: dict[tuple[tuple[str, str], ...], list[Seen]] = {}
    for run in seen:
        by_shape.setdefault(run.shape, []).append(run)
    known, used = [], set()
    for job in jobs:
        shape = shape_of(job)
        if shape not in by_shape:
            return TimeForecast(math.nan, "no earlier run of this shape here")
        used.add(shape)
        known.append(_job_seconds(job, by_shape[shape]))
    if not known:
        return TimeForecast(math.nan, "no job was composed")
    num = sum(len(by_shape[shape]) for shape in used)
    count = f"{num} earlier run{'s' * (num != 1)} of this shape"
    return TimeForecast(sum(known) / len(known) * num_jobs, count)


def _job_seconds(job: Mapping[str, str], same: Sequence[Seen]) -> float:
    rates = np.array([run.train_seconds / run.epochs for run in same])
    bands = np.array([run.n for run in same])
    beside = float(np.median([max(run.seconds - run.train_seconds, 0.0) for run in same]))
    # Strategies without a number of bands take all there are.
    n = to_number(job.get("bands.n"), float(bands.max()))
    rate = float(np.median(rates))
    if len(set(bands.tolist())) > 1:
        slope, start = np.polyfit(bands, rates, 1)
        if slope > 0:  # more bands never take less time, and noise must not say so
            rate = max(float(start + slope * n), float(rates.min()) / 2)
    return beside + rate * to_number(job.get("epochs"), 1.0)


def shape_of(params: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the settings that the time of a job depends on, besides bands and epochs."""
    kept = {k: v for k, v in params.items() if k.startswith(_SHAPE) or k in _SHAPE_WORDS}
    kept.pop(Param.NUM_FEATURES, None)  # logged by the run, in no config
    return tuple(sorted(kept.items()))


def earlier_runs(uri: str | None, experiment: str | None, base: Path | None = None) -> list[Seen]:
    """Read the newest finished runs of this machine; none where there is no store yet."""
    try:
        address = resolve_uri(uri, base)
    except TrackingError:  # told when the sweep opens its store
        return []
    try:
        # A client makes the tables of an empty store, and this is not the place: another sweep
        # that starts now may be at it.
        name = experiment_name(address, experiment)
        if not address.startswith("http") and not has_experiment(address, name):
            return []
        with store_errors():
            reader = open_reader(address)
            where, runs = reader.experiment(name), list[RunRecord]()
            if where is not None:
                here = Tag.HOST, host_name()
                runs = reader.runs(where, *here, status="FINISHED", limit=_LOOKED_AT)
    except (HyperspecError, OSError) as error:
        log.debug("earlier runs were not read: %s", error)
        return []
    return [seen for run in runs if (seen := _seen(run)) is not None]


def _seen(run: RunRecord) -> Seen | None:
    trained = run.metrics.get(MetricName.TRAIN_SECONDS)
    n, epochs = run.number(Param.NUM_BANDS), run.number("epochs")
    if run.tag(Tag.KIND) != "job" or run.has(Tag.RESUMED) or trained is None:
        return None
    if math.isnan(n + epochs):
        return None
    return Seen(shape_of(run.params), n, epochs, trained, run.seconds)


def time_text(found: TimeForecast, num_jobs: int, workers: int) -> str:
    """Say how long the sweep will take."""
    if math.isnan(found.seconds):
        return f"time: unknown until the first job is done ({found.source})"
    beside = f", {workers} at a time" if workers > 1 else ""
    return (
        f"time: about {duration(found.seconds / workers)} ({num_jobs} x "
        f"{duration(found.seconds / num_jobs)}{beside}; from {found.source}; jobs that were "
        "finished before take none)"
    )
