"""``hyperspec embed``: the embeddings of a folder as a Parquet table."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperspec.commands import Commands
from hyperspec.commands.checkpoint_options import add_checkpoint, restored_from


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
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Embed and write."""
    from hyperspec.assessment import Embedded

    embedded = Embedded(restored_from(words, words.checkpoint))
    table = embedded.table()
    words.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(words.out, index=False)
    print(f"wrote {words.out}: {len(table)} embeddings of width {embedded.features.shape[1]}")
    return 0
