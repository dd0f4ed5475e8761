from __future__ import annotations

from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.entities import LoggedModel
from mlflow.tracking import MlflowClient
from sweep_study import Study

from hyperspec.cli.train import main
from hyperspec.inference.cube_embedder import CubeEmbedder
from hyperspec.inference.restore import restore
from hyperspec.report.load import load_sweep
from hyperspec.sweeps.log_models import log_models
from hyperspec.tracking.client import connect
from hyperspec.tracking.config import TrackingConfig
from hyperspec.utils.errors import CatalogueError, ConfigError


def models(study: Study) -> list[LoggedModel]:
    client = MlflowClient(study.uri)
    found = client.get_experiment_by_name(study.folder.name)
    return list(client.search_logged_models([found.experiment_id]))


def test_the_best_job_leaves_a_model_that_embeds_cubes(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main([*study.words, "-m", "bands.n=5,6"]) == 0
    best = max(study.jobs(), key=lambda run: run.data.metrics["objective"])
    (model,) = models(study)
    assert (model.source_run_id, model.name, str(model.status)) == (
        best.info.run_id, "encoder", "READY",
    )  # fmt: skip
    assert model.params["bands.count"] == best.data.params["bands.count"]
    linked = {metric.key: metric.value for metric in model.metrics}
    assert {"objective", "test/knn_top1", "test/knn_top1_low"} <= linked.keys()
    assert linked.items() <= best.data.metrics.items()
    client = MlflowClient(study.uri)
    assert {len(client.get_metric_history(best.info.run_id, key)) for key in linked} == {1}
    root = Path(best.data.params["data.root"])
    files = sorted(root.glob("*.bil"))
    rows = [5, 2, 2, 0]  # any order, and twice
    monkeypatch.setenv("MLFLOW_TRACKING_URI", study.uri)
    loaded = mlflow.pyfunc.load_model(model.model_uri)
    seen = loaded.predict(pd.DataFrame({"file": [str(files[row]) for row in rows]}))
    checkpoint = MlflowClient(study.uri).download_artifacts(
        best.info.run_id, "checkpoints/last.ckpt", str(tmp_path)
    )
    restored = restore(checkpoint)
    expected = restored.embedder.embed(torch.arange(len(restored.material.source))).numpy()
    order = [restored.material.files.index(files[row].name) for row in rows]
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, expected[order], rtol=1e-5, atol=1e-6)
    assert loaded.metadata.signature.inputs.input_names() == ["file"]
    assert loaded.metadata.signature.outputs.inputs[0].shape == (-1, expected.shape[1])
    parent = next(run for run in study.runs() if run.data.tags["hyperspec.kind"] == "sweep")
    note = parent.data.tags["mlflow.note.content"]
    assert "\n\n**2 jobs: 2 finished.** [Report](#/experiments/" in note
    assert f'mlflow.pyfunc.load_model("{model.model_uri}")' in note
    # A second look logs no second model, and "all" adds the other job's.
    data = load_sweep(study.uri, [parent.info.run_id])
    connection = connect(study.uri, study.folder.name)
    assert log_models(connection, data, "best") == model.model_uri
    assert log_models(connection, data, "all") == model.model_uri
    assert {m.source_run_id for m in models(study)} == {run.info.run_id for run in study.jobs()}
    # Nothing is kept of these cubes under their checksums: they are read once and not twice.
    monkeypatch.delattr("hyperspec.cubes.checksums.file_digest")
    embed = CubeEmbedder(checkpoint)
    _check_other_folder(embed, files[0], expected[order[-1]], tmp_path)
    # The encoder is built once, and takes other cubes than the first.
    monkeypatch.delattr("hyperspec.inference.cube_embedder.load")
    np.testing.assert_allclose(embed([files[2]])[0], expected[order[1]], rtol=1e-5, atol=1e-6)


def _check_other_folder(
    embed: CubeEmbedder, file: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    """A copy of a cube elsewhere has the same embedding; a file that is no cube is named."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for part in (*file.parent.glob(f"{file.name}*"), *file.parent.glob("white*")):
        (elsewhere / part.name).write_bytes(part.read_bytes())
    for part in file.parent.glob("dark*"):
        (elsewhere / part.name).write_bytes(part.read_bytes())
    np.testing.assert_allclose(embed([elsewhere / file.name])[0], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(CatalogueError, match=r"nothing\.bil is no cube: there is no such file"):
        embed([elsewhere / "nothing.bil"])


def test_no_model_is_logged_when_none_is_wanted(study: Study) -> None:
    assert main([*study.words, "-m", "bands.n=5", "tracking.log_model=none"]) == 0
    assert models(study) == []


def test_another_word_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"tracking\.log_model is 'some'; choose none, best or all"
    ):
        TrackingConfig(log_model="some")
