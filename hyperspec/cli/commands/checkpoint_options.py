"""Words that name a checkpoint and the folder that its encoder looks at."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands.data_options import add_cache, axis_spec, cache_fields
from hyperspec.cli.commands.options import (
    AXIS_HELP,
    add_labels,
    add_plugins,
    labels_from,
    load_plugins,
)

if TYPE_CHECKING:
    from hyperspec.inference.restore import Restored


def add_checkpoint(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add CKPT, FOLDER and the options that differ from the run's data config."""
    add = parser.add_argument
    told = "what a run wrote: <run folder>/last.ckpt"
    if several:
        add("checkpoints", type=Path, nargs="+", metavar="CKPT", help=told)
    else:
        add("checkpoint", type=Path, metavar="CKPT", help=told)
    add("folder", type=Path, metavar="FOLDER", help="cubes; read and split as in training")
    add("--axis", help=f"for headers without wavelengths: {AXIS_HELP}")
    add("--files", metavar="GLOB", help="which files are cubes (as in training)")
    add_plugins(parser)
    add_cache(parser, None)
    add_labels(parser)


def restored_from(
    words: argparse.Namespace, checkpoint: Path, residency: str | None = None
) -> Restored:
    """Rebuild a checkpoint's encoder on the folder that the words name.

    Args:
        words: Of a command with :func:`add_checkpoint`.
        checkpoint: The checkpoint.
        residency: Where planes live, if not where the run had them.
    """
    from hyperspec.inference.restore import restore
    from hyperspec.training.trainer import quieten

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    quieten()
    load_plugins(words)
    own_labels = (words.labels, words.labels_file, words.column, words.expression)
    labels = labels_from(words, words.folder) if any(w is not None for w in own_labels) else None
    return restore(
        checkpoint,
        root=str(words.folder),
        axis=axis_spec(words.axis),
        pattern=words.files,
        labels=labels,
        residency=residency,
        **cache_fields(words),
    )
