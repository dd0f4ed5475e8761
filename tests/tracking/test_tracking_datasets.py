from __future__ import annotations

import json
from pathlib import Path

import mlflow.data
import numpy as np
import pytest

from hyperspec.tracking.client import Connection
from hyperspec.tracking.datasets import DataPart, as_input
from hyperspec.tracking.run import start_run


def part(name: str, root: Path, images: int = 4, split: str = "b" * 12) -> DataPart:
    counts = {"images": images, "specimens": 2, "classes": 1, "unlabelled_images": 0}
    return DataPart(name, root, "a" * 16, split, (408, 64, 64), np.dtype("float16"), counts)


def test_a_run_lists_the_parts_of_its_data(connection: Connection, tmp_path: Path) -> None:
    with start_run(connection, "job") as run:
        run.log_datasets([part("train", tmp_path), part("validation", tmp_path, 3)])
    inputs = connection.client.get_run(run.run_id).inputs.dataset_inputs
    seen = {entry.dataset.name: entry for entry in inputs}
    name = tmp_path.name
    assert sorted(seen) == [f"{name} (train)", f"{name} (validation)"]
    train = seen[f"{name} (train)"]
    assert [(tag.key, tag.value) for tag in train.tags] == [("mlflow.data.context", "training")]
    assert train.dataset.digest == f"{'a' * 16}-{'b' * 12}"
    assert json.loads(train.dataset.profile)["images"] == 4
    assert json.loads(seen[f"{name} (validation)"].dataset.profile)["images"] == 3
    tensor = json.loads(json.loads(train.dataset.schema)["mlflow_tensorspec"]["features"])
    assert tensor[0]["tensor-spec"] == {"dtype": "float16", "shape": [-1, 408, 64, 64]}
    source = mlflow.data.get_source(train.dataset)
    assert Path(source.load()) == tmp_path


@pytest.mark.parametrize(("name", "context"), [("test", "test"), ("held_out", "held_out")])
def test_the_context_is_the_part(name: str, context: str, tmp_path: Path) -> None:
    assert as_input(part(name, tmp_path)).tags[0].value == context


def test_two_splits_of_a_folder_are_two_datasets(connection: Connection, tmp_path: Path) -> None:
    for split in ("c" * 12, "d" * 12):
        with start_run(connection, "job") as run:
            run.log_datasets([part("train", tmp_path, split=split)])
    runs = connection.client.search_runs([connection.experiment_id])
    digests = {entry.dataset.digest for r in runs for entry in r.inputs.dataset_inputs}
    assert digests == {f"{'a' * 16}-{'c' * 12}", f"{'a' * 16}-{'d' * 12}"}
