"""An export as ENVI files: float32 BSQ with header and mask image, ``labels.csv``, one JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from hyperspec.cubes.envi.writer import write_envi
from hyperspec.datasets.export.columns import OWN_COLUMNS, columns_of
from hyperspec.datasets.store.packed import Store

EXPORT_FILE = "export.json"
EXPORT_VERSION = 1


def write_envi_export(store: Store, folder: Path) -> None:
    """Write every image of a store below a folder.

    ENVI has no float16, so values become float32, which holds each of them exactly.
    """
    from matplotlib.image import imsave

    columns = columns_of(store.table)
    names = _names([str(name) for name in columns["file"]])
    for row, name in enumerate(names):
        path = folder / name
        image = np.asarray(store.image(row), np.float32)
        extra = {"description": f"{{prepared by hyperspec from {_clean(columns['file'][row])}}}"}
        write_envi(path, image, store.axis, interleave="bsq", extra=extra)
        mask = np.repeat(store.masks([row])[0][:, :, None], 3, axis=2).astype(np.uint8) * 255
        imsave(path.with_name(f"{path.stem}_mask.png"), mask)
    content = {
        "version": EXPORT_VERSION,
        "source_hash": store.hash,
        "size": store.size,
        "dtype": str(store.dtype),
        "axis": store.axis.to_dict(),
        "files": names,
        "table": dict(columns),
    }
    _write_labels(folder / "labels.csv", names, columns)
    (folder / EXPORT_FILE).write_text(json.dumps(content))


def _names(files: Sequence[str]) -> list[str]:
    """Return a file name per image; a second ``a.*`` keeps its extension as part of the name."""
    stems = [str(PurePosixPath(name).with_suffix("")) for name in files]
    return [
        f"{stem if stems.count(stem) == 1 else file}.bsq"
        for stem, file in zip(stems, files, strict=True)
    ]


def _write_labels(
    path: Path, names: Sequence[str], columns: Mapping[str, Sequence[str | int | None]]
) -> None:
    """Write a CSV that :class:`CsvLabels` reads, specimen keys included."""
    own = [name for name in columns if name not in OWN_COLUMNS]
    if any(columns["label"]) and not any(columns[name] == columns["label"] for name in own):
        own.insert(0, "label")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *own, "specimen", "view", "date"])
        for row, name in enumerate(names):
            label = columns["label"][row]
            specimen = str(columns["specimen"][row]).removeprefix(f"{label}/")
            rest = (columns["view"][row], columns["date"][row])
            writer.writerow([name, *(columns[key][row] for key in own), specimen, *rest])


def _clean(value: str | int | None) -> str:
    return "".join(c for c in str(value) if c not in "{}\r\n")
