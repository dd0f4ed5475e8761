"""``hyperspec embed``: the embeddings of a folder as a Parquet table."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import (
    add_checkpoint,
    checkpoints_from,
    restored_from,
    table_of,
)
from hyperspec.utils.csv_text import csv_text
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.progress import progress

if TYPE_CHECKING:
    import pandas as pd

    from hyperspec.inference.assessment import Embedded

_AT_ONCE = 64  # images embedded at once, as by Embedder.embed
_PICTURE = 128  # pixels of a picture's side at most


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "embed",
        help="write the embeddings of a folder",
        description="Embed every cube of a folder with a trained encoder and write a Parquet "
        "table: file, specimen, label columns, part of the split, embedding.",
    )
    add_checkpoint(parser)
    parser.add_argument("--out", type=Path, default=Path("embeddings.parquet"), metavar="PARQUET")
    parser.add_argument(
        "--images",
        action="store_true",
        help="add a column `picture`: the specimen in colour as PNG, for explorers of tables",
    )
    group = parser.add_argument_group("windows of bands (encoders with model.stem=wavelength)")
    group.add_argument(
        "--windows-nm",
        metavar="WINDOWS",
        help="embed each window's bands alone, one window in memory at a time: 350-450,450-550 or "
        "a width in nm; a column for each, and `embedding` is pooled",
    )
    group.add_argument("--windows-pool", choices=["mean", "concat"], help="how (mean)")
    group.add_argument(
        "--no-compare",
        action="store_true",
        help="do not hold the windows against the undivided embedding",
    )
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Embed and write."""
    asked = {"--windows-pool": words.windows_pool, "--no-compare": words.no_compare}
    for name, given in asked.items():
        if given and words.windows_nm is None:
            raise ConfigError(f"{name} is about windows of bands; give --windows-nm too.")
    (checkpoint,) = checkpoints_from(words, [words.checkpoint])
    whole = words.windows_nm is None
    restored = restored_from(words, checkpoint, residency=None if whole else "mmap")
    from hyperspec.inference.assessment import Embedded

    embedded = Embedded(restored)
    with progress("Embedding"):
        table = embedded.table() if whole else _by_windows(words, embedded)
    width = len(table["embedding"].iloc[0])
    if words.images:
        with progress("Drawing pictures"):
            table["picture"] = _pictures(embedded)
    words.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(words.out, index=False)
    print(f"wrote {words.out}: {len(table)} embeddings of width {width}")
    return 0


def _pictures(embedded: Embedded) -> list[bytes]:
    """Return each image as a PNG with a transparent background, in the order of the table."""
    from hyperspec.inference.thumbnails import as_png, take_thumbnails

    material = embedded.restored.material
    source, quantity = material.source, material.statistics.quantity
    rows = range(len(source))
    taken = take_thumbnails(source, rows, size=_PICTURE, bands=(), quantity=quantity)
    return [as_png(*pair) for pair in zip(taken.colour, taken.masks, strict=True)]


def _by_windows(words: argparse.Namespace, embedded: Embedded) -> pd.DataFrame:
    """Return the table of a folder that is embedded window by window, and print how it compares."""
    import pandas as pd
    import torch

    from hyperspec.inference.window_embeddings import (
        check_stem,
        compare_windows,
        embed_windows,
        parse_windows,
    )

    restored, how = embedded.restored, words.windows_pool or "mean"
    check_stem(restored)
    selection = restored.material.selection
    found = embed_windows(restored, parse_windows(words.windows_nm, selection.wavelengths_nm))
    table = embedded.table(found.pooled(how))
    for name, column in found.columns().items():
        table[name] = pd.Series(column, index=table.index, dtype=object)
    if words.no_compare:
        return table
    # As many images at once as the memory of one window allows of all bands.
    chunk = max(_AT_ONCE * max(found.num_bands) // len(selection), 1)
    rows = torch.arange(len(restored.material.source))
    whole = restored.embedder.embed(rows, chunk).double().numpy()
    report = compare_windows(restored, found, how, whole)
    path = words.out.with_suffix(".windows.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_text(report), encoding="utf-8")
    _show(report)
    print(f"wrote {path}")
    return table


def _show(report: pd.DataFrame) -> None:
    from rich.console import Console

    numbers = ("bands", "median cosine", "shared 5 neighbours", "test k-NN")
    shown = table_of(["embedding"], numbers)
    for name, bands, *values in report.to_numpy().tolist():
        cells = ["" if math.isnan(value) else f"{value:.3f}" for value in values]
        shown.add_row(name, str(bands), *cells)
    Console().print(shown, highlight=False, markup=False)
