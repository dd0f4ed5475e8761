"""What a single job kept beyond its last values: tables among its artifacts, and histories."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hyperspec.evaluation.statistics.bootstrap import Floats
from hyperspec.tracking.client import open_client

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_RIGHT = {"1": 1, "0": 0, "True": 1, "False": 0}


def read_history(uri: str, run_id: str, metric: str) -> Floats:
    """Return a metric's steps and values in the order of steps, ``(2, T)``; T is 0 without any.

    Of several values at one step, as an interrupted job that went on may have, the last counts.
    """
    rows = _client(uri).get_metric_history(run_id, metric)
    latest = {row.step: row.value for row in sorted(rows, key=lambda row: row.timestamp)}
    pairs = sorted((step, value) for step, value in latest.items() if np.isfinite(value))
    return np.array(pairs, dtype=np.float64).reshape(-1, 2).T


@lru_cache(maxsize=4)
def _client(uri: str) -> MlflowClient:
    return open_client(uri)


def read_table(artifact_uri: str, run_id: str, uri: str, artifact: str) -> pd.DataFrame | None:
    """Return a table of predictions, or None when the job kept none.

    Args:
        artifact_uri: Where the job's artifacts lie.
        run_id: The job's run.
        uri: Its tracking store.
        artifact: Path of the table among the artifacts.
    """
    path = f"{artifact_uri.removeprefix('file://')}/{artifact}"
    if not Path(artifact_uri.removeprefix("file://")).is_absolute():
        from mlflow.artifacts import download_artifacts

        folder, _, file = artifact.rpartition("/")
        listed = _client(uri).list_artifacts(run_id, folder)
        if file not in {Path(entry.path).name for entry in listed}:
            return None
        path = download_artifacts(artifact_uri=f"{artifact_uri}/{artifact}", tracking_uri=uri)
    elif not Path(path).exists():
        return None
    return _from_csv(Path(path))


def _from_csv(path: Path) -> pd.DataFrame:
    """Read a table of predictions; a third of the time of ``pandas.read_csv``, which is the start.

    Labels such as 001 or NA are text; the only numbers are 0 and 1 of ``..._correct``.
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    columns = zip(*rows, strict=True) if rows else ((),) * len(header)
    found: dict[str, list[str] | list[int | None]] = {}
    for name, values in zip(header, columns, strict=True):
        is_right = name.endswith("_correct")
        found[name] = [_RIGHT.get(value) for value in values] if is_right else list(values)
    return pd.DataFrame(found)
