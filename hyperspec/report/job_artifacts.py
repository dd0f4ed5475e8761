"""Tables among a job's artifacts, wherever they lie; one that is damaged costs its job's part."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import pandas as pd

from hyperspec.report.prediction_rows import NUMBERS, prediction_rows
from hyperspec.tracking.client import open_client
from hyperspec.tracking.contract import Artifact
from hyperspec.tracking.health import local_folder

log = logging.getLogger(__name__)

# Columns without which a table says nothing.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    Artifact.PREDICTIONS: ("file", "specimen", "label"),
    Artifact.CONTROLS: ("file", "specimen", "label"),
    Artifact.CURVE_PREDICTIONS: ("strategy", "n", "file", "specimen"),
    Artifact.CONFOUNDERS: ("column", *NUMBERS),
}
_SHOWN = 200  # characters of what is wrong with a file
Read = TypeVar("Read")

_client = lru_cache(maxsize=4)(open_client)  # for the many single jobs of a report


def read_table(artifact_uri: str, run_id: str, uri: str, artifact: str) -> pd.DataFrame | None:
    """Return a table of predictions, by its path among a job's artifacts; None without it.

    One that is damaged is told in a line, and is as none: it costs its job's part alone.
    """
    return read_artifact(artifact_uri, run_id, uri, artifact, prediction_rows)


def read_artifact(
    artifact_uri: str,
    run_id: str,
    uri: str,
    artifact: str,
    read: Callable[[Path, Sequence[str]], Read],
) -> Read | None:
    """Return what ``read`` makes of an artifact's file and the columns that it must have."""
    try:
        path = _fetched(artifact_uri, run_id, uri, artifact)
        return None if path is None else read(path, _NEEDED.get(artifact, ()))
    except Exception as error:  # noqa: BLE001 - a foreign file, or a store's own trouble with it
        log.warning(
            "%s of the job %s cannot be used and is left out: %s",
            *(artifact, run_id, " ".join(str(error).split())[:_SHOWN]),
        )
        return None


def _fetched(artifact_uri: str, run_id: str, uri: str, artifact: str) -> Path | None:
    root = local_folder(artifact_uri)
    if root is not None:
        return root / artifact if (root / artifact).exists() else None
    from mlflow.artifacts import download_artifacts

    folder, _, file = artifact.rpartition("/")
    listed = _client(uri).list_artifacts(run_id, folder)
    if file not in {Path(entry.path).name for entry in listed}:
        return None
    return Path(download_artifacts(artifact_uri=f"{artifact_uri}/{artifact}", tracking_uri=uri))
