"""Words that say which folder of cubes a command reads, and how it is prepared and split."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.cli.commands.options import AXIS_HELP, add_labels, labels_from, parse_axis
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from hyperspec.datasets.config import AxisSpec, FolderData, SplitSpec


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options of a folder that is read as `hyperspec train` reads it."""
    add_labels(parser)
    group = parser.add_argument_group("preparation and split, as in the config's data")
    add = group.add_argument
    add("--files", metavar="GLOB", default="*.bil", help="which files are cubes (*.bil)")
    add("--size", type=int, default=64, help="side of the prepared images (64); the same as in "
        "training shares its packed specimens")  # fmt: skip
    add("--calibrate", choices=["auto", "none"], default="auto")
    add("--mask", choices=["auto", "image", "otsu", "none"], default="auto")
    add("--split-fractions", metavar="A,B,C", default="0.5,0.25,0.25",
        help="shares of train, validation and test (0.5,0.25,0.25)")  # fmt: skip
    add("--split-seed", type=int, default=0)
    add_cache(parser)


def add_cache(parser: argparse.ArgumentParser, default: str | None = ".hyperspec") -> None:
    """Add the option that says where packed specimens are."""
    shown = default or "as in training"
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        default=default,
        help=f"folder of packed specimens and statistics ({shown}); 'none' packs nothing",
    )


def cache_fields(words: argparse.Namespace) -> dict[str, str]:
    """Return the fields of the data config that ``--cache-dir`` sets; none when it is not given."""
    if words.cache_dir is None:
        return {}
    return {"store": "none"} if words.cache_dir == "none" else {"cache_dir": words.cache_dir}


def data_from(words: argparse.Namespace, folder: Path) -> FolderData:
    """Return the data config that the options describe.

    Raises:
        ConfigError: If the shares are no three numbers, or label options contradict each other.
    """
    from hyperspec.datasets.config import FolderData

    data = FolderData(
        root=str(folder),
        pattern=words.files,
        axis=axis_spec(words.axis),
        calibrate=words.calibrate,
        mask=words.mask,
        split=_split(words),
        labels=labels_from(words, folder),
        size=words.size,
    )
    for name, value in cache_fields(words).items():
        setattr(data, name, value)
    return data


def axis_spec(text: str | None) -> AxisSpec | None:
    """Return the config's axis for ``mission`` or ``START:STOP:COUNT``."""
    from hyperspec.datasets.config import AxisSpec

    axis = parse_axis(text, "--axis")
    if axis is None:
        return None
    return AxisSpec(float(axis.wavelengths_nm[0]), float(axis.wavelengths_nm[-1]), len(axis))


def words_of(text: str, option: str) -> list[str]:
    """Return the comma-separated words of an option.

    Raises:
        ConfigError: If there is none, or one is given twice.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found or len(set(found)) < len(found):
        raise ConfigError(f"{option} is {text!r}; give different words with commas between them.")
    return found


def _split(words: argparse.Namespace) -> SplitSpec:
    from hyperspec.datasets.config import SplitSpec

    try:
        fractions = [float(share) for share in words.split_fractions.split(",")]
    except ValueError:
        raise ConfigError(
            f"--split-fractions is {words.split_fractions!r}; give three shares such as "
            "0.5,0.25,0.25."
        ) from None
    return SplitSpec(fractions, words.split_seed)


__all__ = [
    "AXIS_HELP",
    "add_cache",
    "add_data",
    "axis_spec",
    "cache_fields",
    "data_from",
    "words_of",
]
