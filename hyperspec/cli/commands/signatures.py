"""``hyperspec signatures``: mean spectra per class, and prototypes beside them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.options import add_data, add_plugins, data_from, restored_beside
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from hyperspec.evaluation.signatures import Signature
    from hyperspec.inference.restore import Restored
    from hyperspec.training.data import Material


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "signatures",
        help="draw mean spectra per class",
        description="Average the masked spectra of each specimen, then over the specimens of a "
        "class: mean, standard deviation between specimens, counts, as picture and CSV. With "
        "--ckpt also class prototypes: mean embedding, spread, nearest other class.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER")
    add(
        "--ckpt", type=Path, metavar="CKPT", help="encoder for the prototypes; its bands are marked"
    )
    add("--labels-column", default="label", metavar="NAME", help="what makes a class (label)")
    add("--part", choices=["all", "train", "validation", "test"],
        help="specimens (all; for prototypes test)")  # fmt: skip
    add("--out", type=Path, default=Path("signatures"), metavar="DIR", help="folder to write")
    add_plugins(parser)
    add_data(parser)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Average, draw and write."""
    from hyperspec.bands import Full
    from hyperspec.evaluation.signatures import write_signatures
    from hyperspec.training.data import gather

    material = gather(data_from(words, words.folder), Full())
    found = signatures_of(material, words.part or "all", words.labels_column)
    if not found:
        raise ConfigError(
            f"No image has a label in '{words.labels_column}', so there are no classes to average. "
            "Say where labels come from with data/labels=csv, pattern or folder."
        )
    marks, restored = {}, None
    if words.ckpt is not None:
        restored = restored_beside(words, words.ckpt)
        chosen = restored.material.selection
        marks = {f"{chosen.strategy} {len(chosen)}": chosen.wavelengths_nm.tolist()}
    nm = material.source.axis.wavelengths_nm
    quantity = material.statistics.quantity
    files = list(write_signatures(found, nm, words.out, marks_nm=marks, quantity=quantity))
    for one in found:
        print(f"{one.label}: {one.num_specimens} specimens, mean {quantity} {one.mean.mean():.4g}")
    if restored is not None:
        files += write_prototypes(restored, words)
    for path in files:
        print(f"wrote {path}")
    return 0


def signatures_of(material: Material, part: str, name: str) -> list[Signature]:
    """Return the signature of each class over all bands, one image in memory at a time.

    Args:
        material: The folder's specimens and split.
        part: ``all`` or a part of the split.
        name: Label column.
    """
    import numpy as np

    from hyperspec.evaluation.controls.spectra import mean_spectra
    from hyperspec.evaluation.signatures import spectral_signatures
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
    return spectral_signatures(
        spectra, [labels[row] for row in rows], [material.specimens[row] for row in rows]
    )


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
    table.to_csv(paths[0], index=False, float_format="%.6g")
    centres = pd.DataFrame({**table, "embedding": [one.centre for one in found]})
    centres.to_parquet(paths[1], index=False)
    draw_prototypes(found).savefig(paths[2], dpi=150, metadata={"Software": None})
    for row in table.to_dict("records"):
        print(
            f"{row['label']}: spread {row['spread']:.3f}, nearest {row['nearest']} at "
            f"{row['distance']:.3f}"
        )
    return paths
