"""The jobs of sweeps as tidy tables for analyses elsewhere: a row per job, or per tested image.

Metrics have the names that they have in MLflow (docs/tracking.md), with ``_low`` and ``_high`` for
the ends of 95% intervals; settings have those of the config.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hyperspec.evaluation.metrics import accuracies
from hyperspec.report.cohorts import objectives
from hyperspec.report.load import SweepData, load_sweep
from hyperspec.report.variants import settings
from hyperspec.tracking.contract import MetricName
from hyperspec.utils.csv_text import csv_text

log = logging.getLogger(__name__)

# Columns by what :class:`hyperspec.report.load.SweepData` calls them: how a job is found, its end,
# what is asked for first, what its identity is made of.
_JOB = {"sweep": "sweep", "name": "job", "run_id": "run_id", "sweep_id": "sweep_id"}
_STATE = {"status": "status", "resumed_from": "taken_over_from", "reason": "reason"}
_SETTINGS = {
    "strategy": "strategy",
    "n": "bands",
    **{name: name for name in ("temperature", "lr", "seed", "rotation")},
}
_HASHES = {name: name for name in ("data_hash", "split_hash", "bands_hash", "identity")}
_HASHES |= {"results": "versions", "contents": "contents"}
_WHOLE = ("n", "seed", "rotation", "pruned_at")
_TESTED = ("test/", "val/", "control/", "control_val/", "confounder/")
_SCORES = (*_TESTED, "random_split/", "inflation/", "best/", "cost/")
_ENDS = ("_low", "_high")


def results(
    sweeps: str | Path | Sequence[str | Path] = "latest",
    *,
    predictions: bool = False,
    uri: str | None = None,
    experiment: str | None = None,
) -> pd.DataFrame:
    """Return what became of the jobs of sweeps; what ``hyperspec results`` does.

    Args:
        sweeps: One or several of ``latest``, a name, a study, an identity or its beginning, a
            sweep's folder.
        predictions: Return a row per tested image instead of one per job.
        uri: Tracking store; None as :func:`hyperspec.tracking.client.resolve_uri` takes it.
        experiment: MLflow experiment to look in; all of the store by default.

    Returns:
        See :func:`job_table` and :func:`prediction_table`.

    Raises:
        TrackingError: If the store or a sweep is not found.
    """
    named = [sweeps] if isinstance(sweeps, str | Path) else list(sweeps)
    # A result that was taken over is a job too; its images would count twice.
    data = load_sweep(uri, [str(one) for one in named], experiment, copies=not predictions)
    return prediction_table(data) if predictions else job_table(data)


def job_table(data: SweepData) -> pd.DataFrame:
    """Return one row per job, those that failed or were stopped too.

    Columns: ``sweep, job, run_id, sweep_id, status`` (FINISHED, FAILED, KILLED, PRUNED,
    RUNNING, LEFT OUT by a race),
    ``taken_over_from`` (run whose result was taken instead of training), ``reason, pruned_epoch,
    strategy, bands, temperature, lr, seed, rotation``, each other setting that differs between
    jobs, ``objective`` (its metric), ``objective_value``, each score with the ends of its interval,
    costs, ``seconds, started``, and the hashes and versions that the identity is made of. Numbers
    are NaN where there are none, texts are empty.
    """
    jobs = data.jobs.copy()
    for name in _WHOLE:
        jobs[name] = jobs[name].astype("Int64")
    names = {**_JOB, **_STATE, "pruned_at": "pruned_epoch", **_SETTINGS}
    others = [key for key in settings(jobs) if key not in ("loss.temperature", "lr")]
    more = {key: _typed(jobs[f"params.{key}"]) for key in others}
    more |= {"objective": objectives(jobs)}
    more |= {"objective_value": _metric(jobs, MetricName.OBJECTIVE)}
    more |= {name: _metric(jobs, name) for name in _scores(jobs)}
    more |= {"seconds": jobs["seconds"], "started": jobs["start"]}
    parts = [jobs[list(names)].rename(columns=names), pd.DataFrame(more, index=jobs.index)]
    hashes = jobs[list(_HASHES)].rename(columns=_HASHES)
    return pd.concat([*parts, hashes], axis=1).reset_index(drop=True)


def _metric(jobs: pd.DataFrame, name: str) -> pd.Series:
    column = f"metrics.{name}"
    return jobs[column] if column in jobs else pd.Series(float("nan"), jobs.index)


def _scores(jobs: pd.DataFrame) -> list[str]:
    """Return the metrics of a table, each with its ends behind it, test before validation."""
    logged = {c.removeprefix("metrics.") for c in map(str, jobs) if c.startswith("metrics.")}
    known = {name for name in logged if name.startswith(_SCORES)}
    whole = {name for name in known if not (name.endswith(_ENDS) and _base(name) in known)}
    # An accuracy has ends even where too few specimens gave any interval.
    ended = {_base(name) for name in known - whole}
    ended |= {f"{part}/{row.name}" for part in ("test", "val") for row in accuracies()} & whole
    found = []
    for prefix in _SCORES:
        for name in sorted(one for one in whole if one.startswith(prefix)):
            found += [name, *(f"{name}{end}" for end in _ENDS if name in ended)]
    return found


def _base(name: str) -> str:
    return name.rpartition("_")[0]


def _typed(column: pd.Series) -> pd.Series:
    """Return a setting as numbers where all its values are some; ``null`` is none then."""
    numbers = pd.to_numeric(column.replace("null", None), errors="coerce")
    is_number = bool((numbers.notna() | column.isna() | (column == "null")).all())
    return numbers if is_number else column.fillna("")


def prediction_table(data: SweepData) -> pd.DataFrame:
    """Return one row per job and image of its test part.

    Columns: ``sweep, job, run_id, sweep_id, strategy, bands, temperature, lr, seed, rotation, part,
    image`` (its file below the folder of cubes), ``specimen`` and what else the run kept of it,
    ``truth`` (its label), then for each probe what it said and whether that was right (1, 0, empty
    where the image has no label).
    """
    names = {**_JOB, **_SETTINGS}
    found, silent = [], 0
    for _, job in data.finished.iterrows():
        said = data.predictions(str(job["run_id"]))
        if said is None:
            silent += 1
            continue
        said = said.rename(columns={"file": "image", "label": "truth"})
        right = [column for column in map(str, said) if column.endswith("_correct")]
        said = said.astype(dict.fromkeys(right, "Int64"))
        own = {name: job[column] for column, name in names.items()}
        found.append(said.assign(**own, part="test")[[*own, "part", *said.columns]])
    if silent:
        log.warning("%d finished jobs kept no predictions of single images", silent)
    if not found:
        return pd.DataFrame(columns=[*names.values(), "part", "image", "specimen", "truth"])
    whole = {_SETTINGS[name]: "Int64" for name in _WHOLE if name in _SETTINGS}
    return pd.concat(found, ignore_index=True).astype(whole)


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV: texts quoted, numbers exact, nothing that a spreadsheet would compute.

    A text that begins like a formula gets an apostrophe in front, by which spreadsheets know a
    text; a number that is a text by its column is left as it is.
    """
    return csv_text(table, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def to_json(table: pd.DataFrame) -> str:
    """Return a table as a JSON list of objects; what is missing is ``null``, times are ISO 8601."""
    plain = table.astype(object).where(table.notna(), None)
    return json.dumps(plain.to_dict("records"), indent=1, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, pd.Timestamp) else value.item()  # type: ignore[attr-defined]
