"""Copy what a run holds into another run of the same store; done twice it changes nothing."""

from __future__ import annotations

import logging
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.tracking.contract import Folder, MetricName, Tag
from hyperspec.tracking.record import RunRecord, read_run

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

# What tells two runs apart, and is not copied.
_OWN = {Tag.KIND, Tag.HOST, Tag.PROCESS, Tag.STUDY, Tag.OVERRIDES, Tag.RESUMED, Tag.CONTINUED}
_OWN |= {Tag.LOCAL_ID, Tag.TRIAL, Tag.JOB, Tag.REQUEUED}
_BATCH = 1000  # metrics that MLflow takes in one call
_PARAM_BATCH = 100  # parameters and tags that it takes


def copy_run(
    client: MlflowClient,
    source: str,
    target: str,
    until_step: int | None,
    whole: tuple[str, ...] = (),
) -> None:
    """Make a run the light copy of another, or copy its metrics up to a step.

    The light copy has parameters, metrics with their history, tags and artifacts without
    checkpoints. Its tag ``hyperspec.resumed_from`` names the run that trained, also after several
    copies, and ``hyperspec.seconds`` how long that took. With ``until_step``, the last step of the
    metrics to copy, the tag is ``hyperspec.continued_from``; metrics whose names begin as ``whole``
    says are copied whatever their step. A source that was deleted is told.
    """
    from mlflow.exceptions import MlflowException

    if until_step is not None:
        client.set_tag(target, Tag.CONTINUED, source)
    try:
        found = read_run(client, source)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        log.warning("the run %s, which %s goes on from, is gone", source, target)
        return
    if until_step is None:
        _copy_names(client, found, target)
        with tempfile.TemporaryDirectory(prefix="hyperspec-") as folder:
            for entry in client.list_artifacts(source):
                if entry.path != Folder.CHECKPOINTS:
                    local = client.download_artifacts(source, entry.path, folder)
                    client.log_artifact(target, str(Path(local)))
        if found.datasets:
            client.log_inputs(target, found.datasets)
    _copy_metrics(client, found, target, until_step, whole)


def _copy_names(client: MlflowClient, source: RunRecord, target: str) -> None:
    from mlflow.entities import Param, RunTag

    tags = {
        key: value
        for key, value in source.tags.items()
        if key.startswith("hyperspec.") and key not in _OWN
    }
    tags[Tag.NAME] = source.name
    tags[Tag.RESUMED] = source.tag(Tag.RESUMED) or source.run_id
    tags[Tag.SECONDS] = str(0.0 if math.isnan(source.seconds) else source.seconds)
    own = read_run(client, target).params
    params = [Param(k, v) for k, v in source.params.items() if k not in own]
    for start in range(0, len(params), _PARAM_BATCH):
        client.log_batch(target, params=params[start : start + _PARAM_BATCH])
    client.log_batch(target, tags=[RunTag(key, value) for key, value in tags.items()])


def _copy_metrics(
    client: MlflowClient,
    source: RunRecord,
    target: str,
    until_step: int | None,
    whole: tuple[str, ...],
) -> None:
    rows = [
        metric
        for key in source.metrics
        if not key.startswith(MetricName.SYSTEM)  # how busy the machine was then
        for metric in client.get_metric_history(source.run_id, key)
        if until_step is None or metric.step <= until_step or key.startswith(whole)
    ]
    for start in range(0, len(rows), _BATCH):
        client.log_batch(target, metrics=rows[start : start + _BATCH])
