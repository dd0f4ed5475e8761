"""A run's encoder as an MLflow model: ``mlflow.pyfunc.load_model(...)`` embeds new cubes.

The model is a folder with the checkpoint and one small script instead of a pickle, so that loading
it runs this package's code and nothing else. ``mlflow.pyfunc.log_model`` takes 12 s and more, most
of it to find out by trial what the model needs; here that is given, and it takes a fraction of a
second.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy.typing import NDArray

from hyperspec.tracking.client import Connection

COLUMN = "file"
MODEL_NAME = "encoder"
_REQUIRED = ("hyperspec-sweeps", "mlflow", "torch", "pytorch-lightning")
_CODE = Path(__file__).with_name("model_entry.py")
# Loaders as models name them that were logged before the package had its rooms.
_MOVED = {"hyperspec.embedding:open_embedder": "hyperspec.inference.cube_embedder:open_embedder"}

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class CubeEncoder(PythonModel):
    """Takes a table with the column ``file`` (paths of cubes), returns one embedding per row."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the checkpoint with the loader that the model names."""
        loader = str(context.model_config["loader"])
        module, _, name = _MOVED.get(loader, loader).partition(":")
        open_embedder = getattr(importlib.import_module(module), name)
        self._embed: Embed = open_embedder(context.artifacts["checkpoint"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: Mapping[str, Any] | None = None,
    ) -> NDArray[np.float32]:
        """Embed cubes, one per row of the table; return shape ``(N, F)``."""
        return self._embed([str(file) for file in model_input[COLUMN]])


def log_encoder(
    connection: Connection,
    run_id: str,
    checkpoint: Path,
    num_features: int,
    *,
    loader: str,
    step: int = 0,
    about: Mapping[str, str] | None = None,
) -> LoggedModel:
    """Log a checkpoint as the model ``encoder`` of the run that trained it.

    ``num_features`` is F, the numbers of an embedding; ``loader`` is ``module:function`` that takes
    the checkpoint's path and returns what embeds; ``step`` the last one of the training. Settings
    in ``about``, such as ``bands.n``, are shown with the model. What is returned has the
    ``model_uri`` that ``mlflow.pyfunc.load_model`` takes.
    """
    client = connection.client
    logged = client.create_logged_model(
        connection.experiment_id, MODEL_NAME, run_id, params=dict(about or {}), model_type="encoder"
    )
    try:
        with tempfile.TemporaryDirectory(prefix="hyperspec-") as folder:
            path = Path(folder) / "model"
            described = Model(run_id=run_id, model_id=logged.model_id, model_uuid=None)
            save_encoder(path, checkpoint, num_features, loader=loader, described=described)
            client.log_model_artifacts(logged.model_id, str(path))
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step)])
    except BaseException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    return client.finalize_logged_model(logged.model_id, "READY")


def link_metrics(client: MlflowClient, run_id: str, model_id: str, names: Sequence[str]) -> None:
    """Show metrics of a run with its model too; the run itself gets no further points."""
    last = [client.get_metric_history(run_id, name)[-1] for name in names]
    linked = [
        Metric(one.key, one.value, one.timestamp, one.step, model_id=model_id) for one in last
    ]
    client.log_batch(run_id, metrics=linked)


def save_encoder(
    path: Path, checkpoint: Path, num_features: int, *, loader: str, described: Model | None = None
) -> None:
    """Write the model's folder; see :func:`log_encoder`."""
    with _quiet(), tempfile.TemporaryDirectory(prefix="hyperspec-") as folder:
        code = Path(folder) / _CODE.name
        shutil.copyfile(_CODE, code)  # MLflow keeps a file's mode: the umask's, not the package's
        mlflow.pyfunc.save_model(
            str(path),
            mlflow_model=described,
            python_model=str(code),
            artifacts={"checkpoint": str(checkpoint)},
            model_config={"loader": loader},
            signature=signature(num_features),
            pip_requirements=[f"{name}=={version(name)}" for name in _REQUIRED],
        )


def signature(num_features: int) -> ModelSignature:
    """Return what the model takes and gives: file names, and ``(N, F)`` float32."""
    return ModelSignature(
        Schema([ColSpec("string", COLUMN)]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, num_features))]),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep out MLflow's advice on examples and type hints."""
    chatter = logging.getLogger("mlflow")
    before = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        chatter.setLevel(before)
