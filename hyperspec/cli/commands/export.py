"""``hyperspec export``: a store as ENVI files or as one Zarr group."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperspec.cli.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("export", help="write a store as ENVI files or Zarr")
    parser.add_argument("store", metavar="STORE", help="its folder, or the beginning of its hash")
    parser.add_argument("--format", choices=["envi", "zarr"], required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--cache-dir", type=Path, default=Path(".hyperspec"), metavar="DIR")
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Find the store and write it."""
    from hyperspec.datasets.export import export_store
    from hyperspec.datasets.store.packed import Store

    store = Store.open(find_store(words.store, words.cache_dir))
    out = export_store(store, words.out, words.format)
    print(f"wrote {len(store)} images of {len(store.axis)} bands to {out}")
    return 0


def find_store(name: str, cache_dir: Path) -> Path:
    """Return a store's folder, given it or the beginning of its hash.

    Raises:
        CatalogueError: If there is none, or several begin like this.
    """
    from hyperspec.utils.errors import CatalogueError

    if (Path(name) / "store.json").is_file():
        return Path(name)
    there = sorted(file.parent for file in (cache_dir / "stores").glob("*/store.json"))
    found = [folder for folder in there if folder.name.startswith(name)]
    if len(found) != 1:
        listed = ", ".join(folder.name for folder in there) or "none"
        problem = "no store" if not found else f"{len(found)} stores"
        raise CatalogueError(
            f"{name!r} names {problem}: it is no folder of a store, and {cache_dir} holds "
            f"{listed}. Give the folder that `hyperspec pack` printed."
        )
    return found[0]
