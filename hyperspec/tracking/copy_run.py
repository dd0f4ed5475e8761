"""Copy what a run holds into another run of the same store; done twice it changes nothing."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.tracking.names import (
    SYSTEM,
    TAG_CONTINUED,
    TAG_HOST,
    TAG_KIND,
    TAG_LOCAL,
    TAG_OVERRIDES,
    TAG_PROCESS,
    TAG_RESUMED,
    TAG_SECONDS,
    TAG_STUDY,
    TAG_TRIAL,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

# What tells two runs apart, and is not copied.
_OWN = {TAG_KIND, TAG_HOST, TAG_PROCESS, TAG_STUDY, TAG_OVERRIDES, TAG_RESUMED, TAG_CONTINUED}
_OWN |= {TAG_LOCAL, TAG_TRIAL}
_BATCH = 1000  # metrics that MLflow takes in one call
_PARAM_BATCH = 100  # parameters and tags that it takes
_LARGE = "checkpoints"  # artifacts that stay with the first run


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
    copies, and ``hyperspec.seconds`` how long that took. With metrics alone the tag is
    ``hyperspec.continued_from``. A source that was deleted is told.

    Args:
        client: Client of the store.
        source: The run to copy.
        target: The run to write.
        until_step: Last step of the metrics to copy; None makes the light copy.
        whole: Beginnings of the names of metrics that are copied whatever their step.
    """
    from mlflow.exceptions import MlflowException

    if until_step is not None:
        client.set_tag(target, TAG_CONTINUED, source)
    try:
        found = client.get_run(source)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        log.warning("the run %s, which %s goes on from, is gone", source, target)
        return
    if until_step is None:
        _copy_names(client, found, target)
        _copy_artifacts(client, source, target)
        if found.inputs is not None and found.inputs.dataset_inputs:
            client.log_inputs(target, found.inputs.dataset_inputs)
    _copy_metrics(client, found, target, until_step, whole)


def _copy_names(client: MlflowClient, source: Run, target: str) -> None:
    from mlflow.entities import Param, RunTag

    tags = {
        key: value
        for key, value in source.data.tags.items()
        if key.startswith("hyperspec.") and key not in _OWN
    }
    tags["mlflow.runName"] = str(source.info.run_name)
    tags[TAG_RESUMED] = source.data.tags.get(TAG_RESUMED, source.info.run_id)
    ended = source.info.end_time or source.info.start_time
    tags.setdefault(TAG_SECONDS, str((ended - source.info.start_time) / 1000))
    own = client.get_run(target).data.params
    params = [Param(k, v) for k, v in source.data.params.items() if k not in own]
    for start in range(0, len(params), _PARAM_BATCH):
        client.log_batch(target, params=params[start : start + _PARAM_BATCH])
    client.log_batch(target, tags=[RunTag(key, value) for key, value in tags.items()])


def _copy_metrics(
    client: MlflowClient, source: Run, target: str, until_step: int | None, whole: tuple[str, ...]
) -> None:
    rows = [
        metric
        for key in source.data.metrics
        if not key.startswith(SYSTEM)  # how busy the machine was then
        for metric in client.get_metric_history(source.info.run_id, key)
        if until_step is None or metric.step <= until_step or key.startswith(whole)
    ]
    for start in range(0, len(rows), _BATCH):
        client.log_batch(target, metrics=rows[start : start + _BATCH])


def _copy_artifacts(client: MlflowClient, source: str, target: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hyperspec-") as folder:
        for entry in client.list_artifacts(source):
            if entry.path != _LARGE:
                local = client.download_artifacts(source, entry.path, folder)
                client.log_artifact(target, str(Path(local)))
