"""The parts of a run's data as MLflow datasets: what they are, and where they came from.

Imports MLflow: import it where a run is open already. Nothing is uploaded; an entry holds the
folder, hashes, the shape of an image and counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow.data.dataset import Dataset
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import DatasetInput, InputTag
from mlflow.types import Schema, TensorSpec

from hyperspec.tracking.contract import Tag

# The words that MLflow's own documentation uses, so that its UI and searches read as elsewhere.
CONTEXTS = {"train": "training", "validation": "validation", "test": "test", "held_out": "held_out"}
_DIGEST_LIMIT = 36  # characters, MLflow's


@dataclass(frozen=True)
class DataPart:
    """One part of a split: ``train``, ``validation``, ``test`` or ``held_out``.

    ``data_hash`` is of all specimens, their labels and preparation; ``split_hash`` of what lies in
    which part. ``image_shape`` is C, H, W of a prepared image, all bands of the axis. Counts are
    numbers that describe the part, such as images and specimens.
    """

    part: str
    root: Path
    data_hash: str
    split_hash: str
    image_shape: tuple[int, int, int]
    dtype: np.dtype[np.floating]
    counts: Mapping[str, int]


class SpecimenDataset(Dataset):
    """One part of the specimens, as ``mlflow.data`` knows datasets.

    MLflow tells datasets apart by name and digest, and links a run to each once: the part is in
    the name, and data and split in the digest.
    """

    def __init__(self, part: DataPart) -> None:
        self.part = part
        # By name: resolving a path tries every kind of source, and warns that two would do.
        place = json.dumps({"uri": str(part.root.absolute())})
        source = get_dataset_source_from_json(place, source_type="local")
        super().__init__(source, f"{part.root.name} ({part.part})")

    def _compute_digest(self) -> str:
        return f"{self.part.data_hash}-{self.part.split_hash}"[:_DIGEST_LIMIT]

    @property
    def schema(self) -> TensorDatasetSchema:
        """The prepared images, shape ``(N, C, H, W)``."""
        images = TensorSpec(self.part.dtype, (-1, *self.part.image_shape), "images")
        return TensorDatasetSchema(Schema([images]))

    @property
    def profile(self) -> Mapping[str, int]:
        """Counts of the part."""
        return self.part.counts

    def to_dict(self) -> dict[str, str]:
        """Return what MLflow keeps."""
        return {
            **super().to_dict(),
            "schema": json.dumps(self.schema.to_dict()),
            "profile": json.dumps(dict(self.profile)),
        }


def as_input(part: DataPart) -> DatasetInput:
    """Return the link from a run to a part that it used."""
    entity = SpecimenDataset(part)._to_mlflow_entity()
    return DatasetInput(entity, [InputTag(Tag.DATA_CONTEXT, CONTEXTS.get(part.part, part.part))])
