"""Take over what an earlier run has done: its result, or its history up to a checkpoint."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.spectra.errors import HyperspecError
from hyperspec.sweeps.identity import Finished, Objective
from hyperspec.sweeps.parent import ParentInfo
from hyperspec.tracking.names import (
    SYSTEM,
    TAG_CONTINUED,
    TAG_HOST,
    TAG_KIND,
    TAG_OVERRIDES,
    TAG_PARENT,
    TAG_PROCESS,
    TAG_RESUMED,
    TAG_SECONDS,
    TAG_STUDY,
    TAG_TRIAL,
)
from hyperspec.tracking.run import JobRun
from hyperspec.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.entities import Run

log = logging.getLogger(__name__)

_OWN = {TAG_KIND, TAG_HOST, TAG_PROCESS, TAG_STUDY, TAG_OVERRIDES, TAG_RESUMED, TAG_CONTINUED}
_OWN |= {TAG_TRIAL}
_BATCH = 1000  # metrics that MLflow takes in one call
_LARGE = "checkpoints"  # artifacts that stay with the first run


class SweepGivenUpError(HyperspecError):
    """So many jobs have failed that the rest is not started."""


def adopt(run: JobRun, found: Finished) -> Objective:
    """Make a run the light copy of a finished one, and return what it optimises.

    Parameters, metrics with their history, tags and artifacts are copied, so that the sweep is
    whole under its own parent; checkpoints are not. The tag ``hyperspec.resumed_from`` names the
    run that trained, also after several copies.
    """
    client = run.client
    source = client.get_run(found.run_id)
    own = client.get_run(run.run_id)
    tags = {
        key: value
        for key, value in source.data.tags.items()
        if key.startswith("hyperspec.") and key not in _OWN
    }
    tags["mlflow.runName"] = str(source.info.run_name)
    tags[TAG_RESUMED] = source.data.tags.get(TAG_RESUMED, found.run_id)
    tags.setdefault(TAG_SECONDS, str((source.info.end_time - source.info.start_time) / 1000))
    run.log_params({k: v for k, v in source.data.params.items() if k not in own.data.params})
    copy_metrics(source, run)
    if source.inputs is not None and source.inputs.dataset_inputs:
        client.log_inputs(run.run_id, source.inputs.dataset_inputs)
    _copy_artifacts(found.run_id, run)
    run.set_tags(tags)
    log.info("%s: finished before as run %s; not trained again", run.name, tags[TAG_RESUMED])
    return found.objective


def continue_history(run: JobRun, run_id: str, until_step: int) -> None:
    """Copy the metrics that an interrupted run logged before its checkpoint, and name the run."""
    from mlflow.exceptions import MlflowException

    run.set_tags({TAG_CONTINUED: run_id})
    try:
        copy_metrics(run.client.get_run(run_id), run, until_step)
    except MlflowException as error:  # deleted meanwhile, or of another store: the rest still holds
        log.warning("%s: the interrupted run %s gave no metrics: %s", run.name, run_id, error)


def copy_metrics(source: Run, run: JobRun, until_step: int | None = None) -> None:
    """Copy every metric of a run with its steps and times, up to a step."""
    rows = [
        metric
        for key in source.data.metrics
        if not key.startswith(SYSTEM)  # how busy the machine was then
        for metric in run.client.get_metric_history(source.info.run_id, key)
        if until_step is None or metric.step <= until_step
    ]
    for start in range(0, len(rows), _BATCH):
        run.client.log_batch(run.run_id, metrics=rows[start : start + _BATCH])


def _copy_artifacts(run_id: str, run: JobRun) -> None:
    with tempfile.TemporaryDirectory(prefix="hyperspec-") as folder:
        for entry in run.client.list_artifacts(run_id):
            if entry.path != _LARGE:
                local = run.client.download_artifacts(run_id, entry.path, folder)
                run.client.log_artifact(run.run_id, str(Path(local)))


def give_up_after(parent: ParentInfo, max_failures: int) -> None:
    """Refuse to start a job when enough others of its sweep have failed.

    Raises:
        SweepGivenUpError: If so many have.
    """
    connection = connect(parent.tracking_uri, parent.experiment)
    query = f"tags.`{TAG_PARENT}` = '{parent.parent_run_id}' and attributes.status = 'FAILED'"
    failed = len(connection.client.search_runs([connection.experiment_id], query))
    if failed >= max_failures:
        raise SweepGivenUpError(
            f"Not started: {failed} jobs of the sweep have failed, and sweep.max_failures is "
            f"{max_failures}. Mend what they name and give the same command again."
        )
