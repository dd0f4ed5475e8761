"""Read sweeps back from MLflow, and from nothing else: last values, tables, histories.

So it works for any launcher, any machine and any tracking server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from hyperspec.evaluation.statistics.variance import Floats
from hyperspec.report.job_artifacts import Read, read_artifact
from hyperspec.report.left_out import LEFT_OUT, with_race
from hyperspec.report.prediction_rows import (
    Judged,
    judged_of,
    judged_rows,
    prediction_rows,
    unit_name,
)
from hyperspec.report.variants import with_variants
from hyperspec.tracking.client import resolve_uri
from hyperspec.tracking.contract import Artifact, Tag
from hyperspec.tracking.health import local_folder
from hyperspec.tracking.parent import NOTE, find_parent
from hyperspec.tracking.reader import Reader, open_reader
from hyperspec.tracking.record import RunRecord
from hyperspec.tracking.run_index import find_run, read_index
from hyperspec.utils.errors import TrackingError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepInfo:
    """One parent run."""

    run_id: str
    name: str
    study: str
    command: str
    status: str
    start: pd.Timestamp
    seconds: float
    uri: str
    margin: float | None = None
    """``sweep.margin`` as it was when the sweep began; None of sweeps that kept none."""
    race: int = 0
    """Trainings of each setting before a race looked; 0 of other sweeps."""


@dataclass(frozen=True)
class SweepData:
    """Jobs of one or several sweeps.

    Args:
        sweeps: The parents.
        jobs: One row per job: ``run_id, sweep_id, sweep, name, status, strategy, n, num_classes,
            seed, rotation, lr, temperature, reason, pruned_at, objectives, resumed_from, start,
            seconds, uri, artifact_uri, wavelengths_nm``, the hashes and versions that its identity
            is made of, then every parameter as ``params.<name>`` (text; what tells jobs of equal
            parameters apart is one too, see :mod:`hyperspec.report.variants`) and every last metric
            as ``metrics.<name>`` (float, NaN where missing).
    """

    sweeps: tuple[SweepInfo, ...]
    jobs: pd.DataFrame
    _predictions: dict[str, pd.DataFrame | None] = field(default_factory=dict, repr=False)
    _controls: dict[str, pd.DataFrame | None] = field(default_factory=dict, repr=False)
    _confounders: dict[str, pd.DataFrame | None] = field(default_factory=dict, repr=False)
    _swaps: dict[str, pd.DataFrame | None] = field(default_factory=dict, repr=False)
    _spectra: dict[str, pd.DataFrame | None] = field(default_factory=dict, repr=False)
    _judged: dict[tuple[str, bool], Judged | None] = field(default_factory=dict, repr=False)
    _texts: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict, repr=False)

    @cached_property
    def finished(self) -> pd.DataFrame:
        """Jobs that ended well."""
        return self.jobs[self.jobs["status"] == "FINISHED"]

    @property
    def failed(self) -> pd.DataFrame:
        """Jobs that did not end well; running ones and pruned ones are neither."""
        return self.jobs[self.jobs["status"].isin(["FAILED", "KILLED"])]

    @property
    def pruned(self) -> pd.DataFrame:
        """Jobs that a search stopped early."""
        return self.jobs[self.jobs["status"] == "PRUNED"]

    @property
    def left_out(self) -> pd.DataFrame:
        """Jobs of settings that a race did not run to the end: their means are of other jobs."""
        return self.jobs[self.jobs["status"] == LEFT_OUT]

    @cached_property
    def unit(self) -> str:
        """What was sampled: ``specimen``, or the column of ``data.split.group``."""
        column = "params.data.split.group"
        told = set(self.finished[column].dropna()) if column in self.jobs else set()
        named = told - {"null"}
        return str(named.pop()) if len(named) == 1 else "specimen"

    def predictions(self, run_id: str) -> pd.DataFrame | None:
        """Return a job's predictions on the test part, or None when it logged none.

        Columns: file, specimen, group (with ``data.split.group``), label, knn, linear,
        knn_correct, linear_correct.
        """
        return self._table(self._predictions, run_id, Artifact.PREDICTIONS)

    def control_predictions(self, run_id: str) -> pd.DataFrame | None:
        """Return what a job's controls said of the test part, or None when it logged none.

        Columns: file, specimen, label, and for each control and probe ``untrained_knn`` and
        ``untrained_knn_correct``; ``control_column`` of :mod:`hyperspec.evaluation.metrics` says
        which one stands for a control.
        """
        return self._table(self._controls, run_id, Artifact.CONTROLS)

    def judged(self, run_id: str, of_controls: bool = False) -> Judged | None:
        """Return which test images a job, or its controls, named rightly; None without tables.

        What of a table all settings are compared by: a small part, read once and kept.
        """
        key = (run_id, of_controls)
        if key not in self._judged:
            known = self._controls if of_controls else self._predictions
            if run_id in known:
                table = known[run_id]
                self._judged[key] = None if table is None else judged_of(table)
            else:
                artifact = Artifact.CONTROLS if of_controls else Artifact.PREDICTIONS
                found = self._read(run_id, artifact, judged_rows)
                self._judged[key] = None if found is None else self._sharing(found)
        return self._judged[key]

    def _sharing(self, judged: Judged) -> Judged:
        """Keep the same names of images, which most jobs have in common, once."""
        files, units = (self._texts.setdefault(one, one) for one in (judged.files, judged.units))
        return Judged(files, units, judged.right)

    def confounders(self, run_id: str) -> pd.DataFrame | None:
        """Return what a job's probes of confounders found, as text, or None when it had none.

        Columns: column, accuracy, low, high, chance, images, reason.
        """
        return self._table(self._confounders, run_id, Artifact.CONFOUNDERS)

    def swaps(self, run_id: str) -> pd.DataFrame | None:
        """Return what each window of wavelengths told of each test image, as text; None without.

        See :func:`hyperspec.evaluation.importance.swaps.swap_table`.
        """
        return self._table(self._swaps, run_id, Artifact.SWAPS)

    def forget_swaps(self, run_id: str) -> None:
        """Read a job's windows and spectra anew, which were written since."""
        for known in (self._swaps, self._spectra):
            known.pop(run_id, None)

    def spectra(self, run_id: str) -> pd.DataFrame | None:
        """Return mean spectra of a job's training part by label, as text; None without."""
        return self._table(self._spectra, run_id, Artifact.SPECTRA)

    def _table(
        self, known: dict[str, pd.DataFrame | None], run_id: str, artifact: str
    ) -> pd.DataFrame | None:
        if run_id not in known:
            of_controls = artifact == Artifact.CONTROLS
            judged = artifact in (Artifact.PREDICTIONS, Artifact.CONTROLS)
            if judged and self._judged.get((run_id, of_controls), self) is None:
                known[run_id] = None  # what was said of it was said once
            else:
                known[run_id] = self._read(run_id, artifact, prediction_rows)
        return known[run_id]

    def _read(
        self, run_id: str, artifact: str, read: Callable[[Path, Sequence[str]], Read]
    ) -> Read | None:
        artifact_uri, uri = self._places[run_id]
        try:
            return read_artifact(artifact_uri, run_id, uri, artifact, read)
        except TrackingError as error:  # the report stands without it
            log.info("%s of run %s cannot be read: %s", artifact, run_id, error)
            return None

    def history(self, run_id: str, metric: str) -> Floats:
        """Return the steps and values of a job's metric, ``(2, T)``; one call to the store."""
        try:
            return read_history(self._places[run_id][1], run_id, metric)
        except TrackingError as error:  # the report stands without its curves
            log.info("%s of run %s cannot be read: %s", metric, run_id, error)
            return np.zeros((2, 0))

    @cached_property
    def _places(self) -> dict[str, tuple[str, str]]:
        rows = self.jobs[["run_id", "artifact_uri", "uri"]].itertuples(index=False)
        return {str(row.run_id): (str(row.artifact_uri), str(row.uri)) for row in rows}


def load_sweep(
    uri: str | None,
    ids_or_names: Sequence[str],
    experiment: str | None = None,
    base: Path | None = None,
    *,
    copies: bool = False,
) -> SweepData:
    """Read one or several sweeps.

    Args:
        uri: Tracking store; None as :func:`hyperspec.tracking.client.resolve_uri` takes it.
        ids_or_names: For each sweep ``latest``, the identity of its parent run or the beginning
            of it, the run's name, or the sweep's folder. The identity of a single job without a
            parent is taken as a sweep of one job.
        experiment: MLflow experiment to look in; all of the store by default.
        base: Folder that a relative path in ``uri`` starts from.
        copies: Whether a job that took its result from another of these jobs stands beside it.

    Raises:
        TrackingError: If a sweep is not found or the name is ambiguous; the message lists what
            there is.
    """
    address = resolve_uri(uri, base)
    infos: list[SweepInfo] = []
    rows: list[dict[str, object]] = []
    for wanted in dict.fromkeys(ids_or_names):
        store, name = address, wanted
        note = find_parent(Path(wanted)) if (Path(wanted) / NOTE).exists() else None
        if note is not None:
            store, name = note.tracking_uri, note.parent_run_id
        wanted_in = None if note else experiment
        run = find_run(read_index(store, name), name, store, wanted_in)
        reader = open_reader(store)
        parent = reader.run(run.run_id)
        if any(info.run_id == parent.run_id for info in infos):
            continue
        info = _info(parent, store)
        infos.append(info)
        rows += [_row(run, info) for run in _jobs(reader, parent)]
    _warn_of_lost(rows)
    # An empty sweep still has the columns that the report looks at.
    nothing = RunRecord("", "", "")
    columns = None if rows else list(_row(nothing, _info(nothing, "")))
    jobs = pd.DataFrame(rows if copies else _each_result_once(rows), columns=columns)
    return SweepData(
        tuple(infos), with_race(with_variants(jobs), {i.run_id: i.race for i in infos})
    )


def _warn_of_lost(rows: Sequence[Mapping[str, object]]) -> None:
    """Say which jobs' files are gone: without them a report has no tests and no intervals."""
    places = [
        folder
        for row in rows
        if row["status"] == "FINISHED"
        and (folder := local_folder(str(row["artifact_uri"]))) is not None
    ]
    lost = [folder for folder in places if not folder.is_dir()]
    if lost:
        log.warning(
            "the artifacts of %d of %d finished jobs are not there (the first: %s): what was said "
            "of each image is missing from the report",
            *(len(lost), len(places), lost[0]),
        )


def _each_result_once(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Leave out copies of a result whose first run, or an earlier copy, is among the rows."""
    kept: list[dict[str, object]] = []
    seen: set[object] = {row["run_id"] for row in rows if not row["resumed_from"]}
    for row in rows:
        origin = row["resumed_from"]
        if origin and origin in seen:
            continue
        seen.add(origin)
        kept.append(row)
    return kept


def _jobs(reader: Reader, parent: RunRecord) -> list[RunRecord]:
    found = reader.runs(parent.experiment_id, Tag.PARENT, parent.run_id)
    children = [run for run in found if not run.has(Tag.REQUEUED)]
    return sorted(children, key=_started) if children or parent.is_sweep else [parent]


def _started(run: RunRecord) -> tuple[int, str]:
    return run.start_ms, run.run_id


def _info(run: RunRecord, uri: str) -> SweepInfo:
    return SweepInfo(
        run_id=run.run_id,
        name=run.name,
        study=run.tag(Tag.STUDY),
        command=run.tag(Tag.COMMAND),
        status=run.status,
        start=pd.Timestamp(run.start_ms, unit="ms", tz="UTC"),
        seconds=run.seconds,
        uri=uri,
        margin=run.margin,
        race=run.race,
    )


def _row(run: RunRecord, info: SweepInfo) -> dict[str, object]:
    params = run.params
    return {
        "run_id": run.run_id,
        "sweep_id": info.run_id,
        "sweep": info.name,
        "name": run.name,
        "status": "PRUNED" if run.has(Tag.PRUNED) else run.status,
        "strategy": run.tag(Tag.STRATEGY) or params.get("bands") or "?",
        "n": run.number(Tag.NUM_BANDS, "bands.n"),
        "num_classes": run.number(Tag.NUM_CLASSES),
        "seed": run.number("seed"),
        "rotation": run.number("data.split.rotation"),
        "lr": run.number("lr"),
        "temperature": run.number("loss.temperature"),
        # A parameter of runs of earlier versions.
        "wavelengths_nm": run.tag(Tag.WAVELENGTHS) or params.get("bands.wavelengths_nm", ""),
        "reason": run.tag(Tag.REASON),
        "pruned_at": run.number(Tag.PRUNED),
        "objectives": run.tag(Tag.OBJECTIVES),
        "resumed_from": run.tag(Tag.RESUMED),
        "data_hash": run.tag(Tag.DATA_HASH),
        "split_hash": run.tag(Tag.SPLIT_HASH),
        "bands_hash": run.tag(Tag.BANDS_HASH),
        "identity": run.tag(Tag.IDENTITY),
        "settings_hash": run.tag(Tag.SETTINGS),
        "results": run.tag(Tag.RESULTS),
        "contents": run.tag(Tag.CONTENTS),
        "start": pd.Timestamp(run.start_ms, unit="ms", tz="UTC"),
        "seconds": run.seconds,
        "uri": info.uri,
        "artifact_uri": run.artifact_uri,
        **{f"params.{key}": value for key, value in params.items()},
        **{f"metrics.{key}": float(value) for key, value in run.metrics.items()},
    }


def unit_of(table: pd.DataFrame) -> pd.Series[str]:
    """Return what each row of a table of predictions is one of: its group, or its specimen."""
    found: pd.Series[str] = table[unit_name(list(map(str, table)))]
    return found


def read_history(uri: str, run_id: str, metric: str) -> Floats:
    """Return a metric's steps and values in the order of steps, ``(2, T)``; T is 0 without any.

    Of several values at one step, as an interrupted job that went on may have, the last counts.
    """
    latest = dict(_reader(uri).history(run_id, metric))
    pairs = sorted((step, value) for step, value in latest.items() if np.isfinite(value))
    return np.array(pairs, dtype=np.float64).reshape(-1, 2).T


_reader = lru_cache(maxsize=4)(open_reader)  # for the many single jobs of a report
