"""What the page knows of each specimen image, as plain values that JSON holds."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperspec.datasets.splits import HELD_OUT
from hyperspec.evaluation.embeddings import Embeddings, Floats, normalised
from hyperspec.evaluation.evaluators.clusters import cluster
from hyperspec.evaluation.pictures import to_plane
from hyperspec.evaluation.scores import measure
from hyperspec.inference.assessment import Embedded
from hyperspec.inference.thumbnails import Thumbnails
from hyperspec.utils.errors import ConfigError

LEAST = 3  # images: fewer span no plane
_NEIGHBOURS = 8
_PROBES = {"knn": "k-NN", "linear": "linear probe"}
_MOST_VALUES = 400  # of a column: one with a name for each image colours nothing
_FEW_NUMBERS = 8  # different numbers up to which a column is one of names
_AT_ONCE = 512  # rows of similarities in memory


def content_of(
    embedded: Embedded, thumbs: Thumbnails, *, column: str = "label", umap: bool = True
) -> dict[str, Any]:
    """Return what the page shows, but for its pictures and its words.

    Args:
        embedded: The encoder's view of the folder.
        thumbs: Pictures of the images that are shown.
        column: Label column that held-out images are named by.
        umap: Whether to lay the neighbourhoods out too, where umap-learn is installed.

    Raises:
        ConfigError: If there is no such column.
    """
    rows, material = thumbs.rows, embedded.restored.material
    features = embedded.features[rows]
    part_of = np.full(len(embedded.features), "none", dtype=object)
    for name, members in embedded.parts.items():
        part_of[members] = name
    parts = [part for part in (*embedded.parts, "none") if part in set(part_of[rows])]
    specimens = [material.specimens[row] for row in rows]
    columns = [c for name in embedded.label_columns if (c := _column(embedded, name, rows))]
    labels = {x for row in rows if (x := embedded.labels(column)[row]) is not None}
    groups = cluster(features, max(len(labels), 2))
    columns.append(_texts("k-means cluster", [f"cluster {group + 1}" for group in groups]))
    nearest, likeness = _neighbours(features, specimens)
    return {
        "files": [material.files[row] for row in rows],
        "specimens": specimens,
        "parts": parts,
        "part": [parts.index(part_of[row]) for row in rows],
        "columns": columns,
        "first": next((i for i, one in enumerate(columns) if one["name"] == column), 0),
        "maps": _maps(features, umap),
        "neighbours": nearest.tolist(),
        "likeness": np.round(likeness, 3).tolist(),
        "named": _named(embedded, column, rows),
        "spectra": spectra_codes(thumbs.spectra, material.source.axis.wavelengths_nm),
        "quantity": material.statistics.quantity,
        "chosen": sorted(round(float(nm), 1) for nm in material.selection.wavelengths_nm),
    }


def _column(embedded: Embedded, name: str, rows: NDArray[np.intp]) -> dict[str, Any] | None:
    """Return a column that can colour; None for one without values, or with one per image."""
    every = embedded.labels(name)
    values = [every[row] for row in rows]
    known = {value for value in values if value is not None}
    numbers = [_number(value) for value in values]
    if len(known) > _FEW_NUMBERS and all(
        number is not None for number, value in zip(numbers, values, strict=True) if value
    ):
        return {"name": name, "numbers": numbers}
    return _texts(name, values) if known and len(known) <= _MOST_VALUES else None


def _texts(name: str, values: Sequence[str | None]) -> dict[str, Any]:
    names = sorted({value for value in values if value is not None})
    code = {value: number for number, value in enumerate(names)}
    return {
        "name": name,
        "values": names,
        "codes": [-1 if value is None else code[value] for value in values],
    }


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _maps(features: Floats, umap: bool) -> list[dict[str, Any]]:
    """Return places between -1 and 1 on each map, with its words."""
    made = [to_plane(features)]
    if umap and find_spec("umap") is not None:  # an extra: PCA is always there
        made.append(to_plane(features, "umap"))
    maps = []
    for points, title in made:
        middle = (points.max(0) + points.min(0)) / 2
        reach = float(np.abs(points - middle).max()) or 1.0
        maps.append({"name": title, "xy": np.round((points - middle) / reach, 4).ravel().tolist()})
    return maps


def _neighbours(
    features: Floats, specimens: Sequence[str]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the nearest images of other specimens by cosine, nearest first, and their cosines."""
    unit, owner = normalised(features), np.unique(specimens, return_inverse=True)[1]
    fewest_others = len(owner) - int(np.bincount(owner).max())
    count = min(_NEIGHBOURS, fewest_others)
    places, values = [], []
    for start in range(0, len(unit), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        cosine = unit[some] @ unit.T
        cosine[owner[some, None] == owner[None]] = -np.inf
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
        places.append(order)
        values.append(np.take_along_axis(cosine, order, axis=1))
    return np.concatenate(places), np.concatenate(values)


def _named(embedded: Embedded, column: str, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Return what each probe calls the images that it was not fitted on; -1 for the others."""
    labels, train = embedded.labels(column), embedded.held("train", column)
    place_of = {int(row): place for place, row in enumerate(rows)}
    names = sorted({label for label in labels if label is not None})
    code = {name: number for number, name in enumerate(names)}
    probes: dict[str, list[int]] = {}
    if len(set(train.labelled().labels)) < 2:
        return {"column": column, "values": names, "probes": {}}
    config, fits = embedded.restored.config, dict[str, Any]()
    for part, members in embedded.parts.items():
        if part == "train":
            continue
        held, known = embedded.held(part, column), None if part == HELD_OUT else train
        try:
            _, said = measure(
                Embeddings(held, known, config.evaluation.k, fits=fits), list(_PROBES)
            )
        except ConfigError:
            continue  # too few specimens held out to name each other
        labelled = [row for row in members if labels[row] is not None]
        for probe, answers in said.items():
            own = probes.setdefault(_PROBES[probe], [-1] * len(rows))
            for row, answer in zip(labelled, answers, strict=True):
                if (place := place_of.get(int(row))) is not None:
                    own[place] = code[str(answer)]
    return {"column": column, "values": names, "probes": probes}


def spectra_codes(spectra: NDArray[np.floating], nm: NDArray[np.float64]) -> dict[str, Any]:
    """Return spectra ``(N, C)`` in 16 bits, ascending in nm: ``low + code * step``."""
    order = np.argsort(nm, kind="stable")
    values = np.nan_to_num(np.asarray(spectra, np.float64)[:, order])
    low, high = float(values.min()), float(values.max())
    step = (high - low) / 65535 or 1.0
    codes = np.rint((values - low) / step).astype("<u2")
    return {
        "nm": np.round(nm[order], 2).tolist(),
        "low": low,
        "step": step,
        "codes": base64.b64encode(codes.tobytes()).decode(),
    }
