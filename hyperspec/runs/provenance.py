"""What a run worked on, as MLflow's datasets: one entry per part of the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hyperspec.config.schema import Train
from hyperspec.datasets.splits import HELD_OUT
from hyperspec.evaluation.pictures import draw_responses
from hyperspec.evaluation.signatures import MarkedSignatures, Signature, draw_signatures
from hyperspec.spectra.band_projection import BandProjection
from hyperspec.tracking import names
from hyperspec.tracking.contract import Artifact, Param, Tag
from hyperspec.tracking.datasets import DataPart
from hyperspec.tracking.run import JobRun
from hyperspec.training.data import Material

_MOST_DRAWN = 4  # of some 10 MB; a sweep may take strategies in turns
_drawn: dict[tuple[object, ...], MarkedSignatures] = {}


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
    run.log_datasets(data_parts(material, config))
    # After the files, each a call of its own: what follows goes to the store in one.
    params: dict[str, str] = {
        Param.NUM_BANDS: str(len(selection)),
        Param.NUM_CUBES: str(len(material.source)),
        Param.NUM_SPECIMENS: str(len(set(material.specimens))),
    }
    run.log_params(params)
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
    """Return the picture as PNG; jobs of the same spectra differ in the marks under them."""
    chosen, nm = material.selection, material.selection.wavelengths_nm.tolist()
    data = (material.source.hash, material.split.hash, *material.labels, *material.specimens)
    ends = (min(nm), max(nm))
    axis = material.source.axis.range_nm
    # Marks beyond the spectra widen the picture.
    wider = None if axis[0] <= ends[0] and ends[1] <= axis[1] else ends
    key = (*data, chosen.strategy, wider)
    if key not in _drawn:
        while len(_drawn) >= _MOST_DRAWN:
            del _drawn[next(iter(_drawn))]
        _drawn[key] = MarkedSignatures(picture(material))
    return _drawn[key].png(nm)


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
