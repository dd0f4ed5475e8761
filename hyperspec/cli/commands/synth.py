"""``hyperspec synth``: write synthetic specimens whose answer is known."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperspec.cli.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("synth", help="write synthetic specimens with a known answer")
    parser.add_argument("folder", type=Path, help="folder to write")
    variants = "planted (default), graded, null or spots"
    parser.add_argument("--variant", default="planted", help=variants)
    parser.add_argument("--specimens", type=int, default=20, help="specimens per species (20)")
    parser.add_argument("--size", type=int, default=40, help="side of the cubes in pixels (40)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing set")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Write the set."""
    from hyperspec.testing.synthetic.generate import synthesise
    from hyperspec.testing.synthetic.settings import SynthSettings

    settings = SynthSettings(
        variant=words.variant,
        num_specimens=words.specimens,
        size=words.size,
        seed=words.seed,
        overwrite=words.overwrite,
    )
    print(f"wrote {synthesise(words.folder, settings)}")
    return 0
