"""``hyperspec signatures``: mean spectra per class, and prototypes beside them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.observers import add_observer, observer_from
from hyperspec.cli.commands.words import (
    CKPT_HELP,
    add_data,
    add_plugins,
    add_uri,
    checkpoints_from,
    data_from,
    restored_beside,
)
from hyperspec.utils.csv_text import csv_text
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hyperspec.cli.commands.observers import Observer
    from hyperspec.inference.restore import Restored
    from hyperspec.training.data import Material


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "signatures",
        help="draw mean spectra per class",
        description="Average the masked spectra of each specimen, then over the specimens of a "
        "class: mean, standard deviation between specimens, counts, as picture and CSV. With "
        "--ckpt also class prototypes: mean embedding, spread, nearest other class. With "
        "--observer also how far apart the classes are for an eye (docs/receptors.md).",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER")
    told = f"encoder for the prototypes, whose bands are marked: {CKPT_HELP}"
    add("--ckpt", metavar="CKPT", help=told)
    add_uri(parser)
    add("--labels-column", default="label", metavar="NAME", help="what makes a class (label)")
    add("--part", choices=["all", "train", "validation", "test"],
        help="specimens (all; for prototypes test)")  # fmt: skip
    add_observer(parser)
    add("--out", type=Path, default=Path("signatures"), metavar="DIR", help="folder to write")
    add_plugins(parser)
    add_data(parser)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Average, draw and write."""
    checkpoints = checkpoints_from(words, [] if words.ckpt is None else [words.ckpt])
    data = data_from(words, words.folder)
    with progress("Reading the specimens"):
        from hyperspec.bands import Full
        from hyperspec.evaluation.signatures import spectral_signatures, write_signatures
        from hyperspec.training.data import gather

        material = gather(data, Full())
    observer = None
    if words.observer is not None:
        _check_reflectance(material)
        observer = observer_from(words, material.source.axis)
    spectra = specimen_spectra(material, words.part or "all", words.labels_column)
    found = spectral_signatures(*spectra)
    if not found:
        raise ConfigError(
            f"No image has a label in '{words.labels_column}', so there are no classes to average. "
            "Say where labels come from with data/labels=csv, pattern or folder."
        )
    marks, restored = {}, None
    for checkpoint in checkpoints:
        restored = restored_beside(words, checkpoint)
        chosen = restored.material.selection
        marks = {f"{chosen.strategy} {len(chosen)}": chosen.wavelengths_nm.tolist()}
    nm = material.source.axis.wavelengths_nm
    quantity = material.statistics.quantity
    files = list(write_signatures(found, nm, words.out, marks_nm=marks, quantity=quantity))
    for one in found:
        print(f"{one.label}: {one.num_specimens} specimens, mean {quantity} {one.mean.mean():.4g}")
    if observer is not None:
        files += write_contrasts_of(observer, spectra, words)
    if restored is not None:
        files += write_prototypes(restored, words)
    for path in files:
        print(f"wrote {path}")
    return 0


Spectra: TypeAlias = "tuple[NDArray[np.float64], list[str | None], list[str]]"


def specimen_spectra(material: Material, part: str, name: str) -> Spectra:
    """Return the mean spectrum, the label and the specimen of each image, one in memory at a time.

    Args:
        material: The folder's specimens and split.
        part: ``all`` or a part of the split.
        name: Label column.
    """
    import numpy as np

    from hyperspec.evaluation.controls.spectra import mean_spectra
    from hyperspec.training.data import column

    source = material.source
    if name not in source.table.columns:
        raise ConfigError(
            f"--labels-column names '{name}', which the folder's table does not have. There are: "
            f"{', '.join(map(str, source.table.columns))}."
        )
    rows = list(range(len(source))) if part == "all" else material.split.parts()[part].tolist()
    spectra = np.concatenate(
        [mean_spectra(source.planes([row]), source.masks([row])) for row in rows]
    )
    labels = column(source, name)
    return spectra, [labels[row] for row in rows], [material.specimens[row] for row in rows]


def _check_reflectance(material: Material) -> None:
    from hyperspec.spectra.statistics import REFLECTANCE

    if material.statistics.quantity != REFLECTANCE:
        raise ConfigError(
            f"--observer reads reflectance, but these are {material.statistics.quantity}s, into "
            "which the camera's own sensitivity is mixed. Calibrate them (data.calibrate=auto with "
            "a white and a dark frame)."
        )


def write_contrasts_of(
    observer: Observer, spectra: Spectra, words: argparse.Namespace
) -> tuple[Path, Path]:
    """Print what the observer is and how far apart the classes are; write table and picture."""
    from hyperspec.evaluation.contrasts import write_contrasts
    from hyperspec.evaluation.embeddings import specimen_means

    by_label = specimen_means(*spectra, what="spectra")
    if len(by_label) < 2:
        raise ConfigError(
            f"--observer compares classes, but '{words.labels_column}' has {len(by_label)}."
        )
    table = observer.contrasts(by_label)
    print()
    for line in observer.said:
        print(line)
    for row in table.to_dict("records"):
        told = [
            f"{kind} {row[f'{kind}_jnd']:.2f} [{row[f'{kind}_low']:.2f}, {row[f'{kind}_high']:.2f}]"
            for kind in ("chromatic", "achromatic")
            if f"{kind}_jnd" in row
        ]
        print(f"{row['label_a']} - {row['label_b']}: {', '.join(told)} JND")
    title = f"observer {words.observer}, light {words.illuminant}; below 1 JND nothing is seen"
    return write_contrasts(table, words.out, title)


def write_prototypes(restored: Restored, words: argparse.Namespace) -> list[Path]:
    """Write table, embeddings and picture of the prototypes; return their paths."""
    import pandas as pd

    from hyperspec.evaluation.prototypes import class_prototypes, draw_prototypes, prototype_table
    from hyperspec.inference.assessment import Embedded

    embedded = Embedded(restored)
    if words.part == "all":
        rows = list(range(len(embedded.features)))
    else:
        rows = embedded.parts[words.part or "test"].tolist()
    labels = embedded.labels(words.labels_column)
    found = class_prototypes(
        embedded.features[rows],
        [labels[row] for row in rows],
        [restored.material.specimens[row] for row in rows],
    )
    table = prototype_table(found)
    paths = [words.out / f"prototypes.{ending}" for ending in ("csv", "parquet", "png")]
    paths[0].write_text(csv_text(table, float_format="%.6g"), encoding="utf-8")
    centres = pd.DataFrame({**table, "embedding": [one.centre for one in found]})
    centres.to_parquet(paths[1], index=False)
    draw_prototypes(found).savefig(paths[2], dpi=150, metadata={"Software": None})
    for row in table.to_dict("records"):
        print(
            f"{row['label']}: spread {row['spread']:.3f}, nearest {row['nearest']} at "
            f"{row['distance']:.3f}"
        )
    return paths
