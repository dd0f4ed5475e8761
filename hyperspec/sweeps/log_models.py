"""Which jobs of a sweep leave their encoder as an MLflow model."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.report.cohorts import best_job
from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import Artifact, MetricName, Param
from hyperspec.tracking.record import read_run

if TYPE_CHECKING:
    import pandas as pd

    from hyperspec.report.load import SweepData

log = logging.getLogger(__name__)

LOADER = "hyperspec.inference.cube_embedder:open_embedder"
_SHOWN = ("bands", Param.NUM_BANDS, "model", "loss.temperature", "lr", "seed", "data.size")


def log_models(connection: Connection, data: SweepData, which: str) -> str | None:
    """Log the encoder of the ``best`` job, of ``all`` or of ``none``; return the best's address.

    A job that took another's result is left to the run that trained; a run has one model at most.
    """
    best = best_job(data)
    if which == "none":
        return None
    rows = [row for _, row in data.finished.iterrows()]
    if which != "all":
        rows = [] if best is None else [best]
    found = {str(row["run_id"]): _log_once(connection, row) for row in rows}
    return None if best is None else found[str(best["run_id"])]


def _log_once(connection: Connection, job: pd.Series) -> str | None:
    """Log one job's encoder unless its run has a model already."""
    from hyperspec.tracking.pyfunc_model import link_metrics, log_encoder

    client = connection.client
    run_id = str(job["resumed_from"] or job["run_id"])
    run = read_run(client, run_id)
    if run.model_id is not None:
        return f"models:/{run.model_id}"
    params = run.params
    num_features = params.get(Param.NUM_FEATURES)
    folder, _, name = Artifact.CHECKPOINT.rpartition("/")
    listed = {Path(entry.path).name for entry in client.list_artifacts(run_id, folder)}
    if num_features is None or name not in listed:
        log.warning("%s has no checkpoint to make a model of", job["name"])
        return None
    with tempfile.TemporaryDirectory(prefix="hyperspec-") as temporary:
        local = client.download_artifacts(run_id, Artifact.CHECKPOINT, temporary)
        logged = log_encoder(
            connection,
            run_id,
            Path(local),
            int(num_features),
            loader=LOADER,
            about={key: params[key] for key in _SHOWN if key in params},
        )
    scores = [key for key in run.metrics if key == MetricName.OBJECTIVE or key.startswith("test/")]
    link_metrics(client, run_id, logged.model_id, scores)
    return str(logged.model_uri)
