"""What a run worked on, as MLflow's datasets: one entry per part of the split."""

from __future__ import annotations

from pathlib import Path

from hyperspec.config.schema import Train
from hyperspec.datasets.splits import HELD_OUT
from hyperspec.tracking.datasets import DataPart
from hyperspec.training.data import Material


def data_parts(material: Material, config: Train) -> list[DataPart]:
    """Return the parts that hold images, with counts of each."""
    source, split = material.source, material.split
    parts = {**split.parts(), HELD_OUT: split.held_out}
    return [
        DataPart(
            part,
            Path(config.data.root),
            source.hash,
            split.hash,
            (len(source.axis), source.size, source.size),
            source.dtype,
            {
                "images": len(rows),
                "specimens": len({material.specimens[row] for row in rows}),
                "classes": len({material.labels[row] for row in rows} - {None}),
                "unlabelled_images": sum(material.labels[row] is None for row in rows),
            },
        )
        for part, rows in parts.items()
        if len(rows)
    ]
