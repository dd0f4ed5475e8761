"""What a run worked on, as MLflow's datasets: one entry per part of the split."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hyperspec.config.schema import Train
from hyperspec.datasets.splits import HELD_OUT
from hyperspec.evaluation.pictures import draw_responses, lay_out
from hyperspec.evaluation.signatures import Signature, draw_signatures
from hyperspec.spectra.band_projection import BandProjection
from hyperspec.tracking import names
from hyperspec.tracking.contract import Artifact, Param, Tag
from hyperspec.tracking.datasets import DataPart
from hyperspec.tracking.run import JobRun
from hyperspec.training.data import Material

_MOST_DRAWN = 16  # a sweep takes its settings in turns for each seed and rotation
_drawn: dict[tuple[object, ...], bytes] = {}


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


def describe(material: Material, config: Train, run: JobRun) -> None:
    """Log what the run works on: bands, hashes of data and split, and pictures."""
    selection = material.selection
    run.log_dict(selection.to_dict(), Artifact.BANDS)
    run.log_bytes(_picture(material), Artifact.BANDS_PICTURE)
    if isinstance(selection, BandProjection):
        run.log_figure(draw_responses(selection), Artifact.RESPONSES_PICTURE)
    params: dict[str, str] = {
        Param.NUM_BANDS: str(len(selection)),
        Param.NUM_CUBES: str(len(material.source)),
        Param.NUM_SPECIMENS: str(len(set(material.specimens))),
    }
    run.log_params(params)
    run.log_datasets(data_parts(material, config))
    temperature, n = getattr(config.loss, "temperature", None), len(selection)
    settings = (temperature, config.lr, config.seed, config.data.split.rotation)
    wavelengths = [round(float(nm), 2) for nm in selection.wavelengths_nm]
    tags: dict[str, str] = {
        Tag.STRATEGY: selection.strategy,
        Tag.NUM_BANDS: str(n),
        Tag.BANDS_HASH: selection.hash,
        Tag.WAVELENGTHS: names.as_text(wavelengths),
        Tag.SPLIT_HASH: material.split.hash,
        Tag.DATA_HASH: material.source.hash,
        Tag.NUM_CLASSES: str(len(material.classes)),
        Tag.NAME: names.run_name(selection.strategy, n, *settings),
    }
    run.set_tags(tags)


def _picture(material: Material) -> bytes:
    """Return the picture as PNG; jobs that differ in other things share it."""
    chosen, hashes = material.selection, (material.source.hash, material.split.hash)
    labels = tuple(material.labels), tuple(material.specimens)
    key = (*hashes, chosen.hash, *labels)
    if key not in _drawn:
        content, figure = BytesIO(), picture(material)
        lay_out(figure)
        figure.savefig(content, format="png")
        while len(_drawn) >= _MOST_DRAWN:
            del _drawn[next(iter(_drawn))]
        _drawn[key] = content.getvalue()
    return _drawn[key]


def picture(material: Material) -> Figure:
    """Draw the training part's spectra per class with the chosen bands under them."""
    classes = material.statistics.classes or {"all": material.statistics.moments}
    held = [(material.labels[row], material.specimens[row]) for row in material.split.train]
    signatures = [
        Signature(
            name,
            len({key for label, key in held if label == name or not material.classes}),
            moments.mean,
            np.sqrt(np.diag(moments.covariance)),
        )
        for name, moments in sorted(classes.items())
    ]
    selection = material.selection
    return draw_signatures(
        signatures,
        material.source.axis.wavelengths_nm,
        marks_nm={selection.strategy: selection.wavelengths_nm.tolist()},
        quantity=material.statistics.quantity,
    )
