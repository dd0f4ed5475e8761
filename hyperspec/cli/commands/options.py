"""Words that several commands share: labels, axes, threads."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from hyperspec.datasets.catalogue.labels import LabelSource
    from hyperspec.spectra.axis import SpectralAxis

AXIS_HELP = "'mission' (408 bands, 348.4 to 809.6 nm) or START:STOP:COUNT in nm"


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """Add the option that names modules of the user's own."""
    parser.add_argument(
        "--plugins",
        metavar="A,B,...",
        help="modules of yours, with options that this needs (docs/extending.md)",
    )


def load_plugins(words: argparse.Namespace) -> None:
    """Load what is installed, and the modules that the words name.

    Raises:
        ConfigError: If one cannot be imported.
    """
    from hyperspec.config.plugins import load

    load([] if words.plugins is None else words.plugins.split(","), "--plugins")


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where labels come from."""
    group = parser.add_argument_group("labels")
    group.add_argument(
        "--labels",
        choices=["csv", "pattern", "folder", "none"],
        help="where labels come from (csv when labels.csv exists, else none)",
    )
    group.add_argument("--labels-file", metavar="CSV", help="the CSV, relative to FOLDER")
    group.add_argument(
        "--column", help="label column of the CSV (species), or label group of the expression"
    )
    group.add_argument(
        "--expression", metavar="REGEX", help="for --labels pattern: over file names, named groups"
    )


def labels_from(words: argparse.Namespace, folder: Path) -> LabelSource:
    """Return the source of labels that the options name.

    Raises:
        ConfigError: If an option belongs to another source than the chosen one.
    """
    from hyperspec.datasets.catalogue.labels import CsvLabels, FolderLabels, NoLabels, PatternLabels

    file = words.labels_file or CsvLabels().file
    chosen = words.labels
    if chosen is None:
        named = words.labels_file is not None
        chosen = "csv" if named or (folder / file).is_file() else "none"
        chosen = "pattern" if words.expression is not None else chosen
    owners = {"labels_file": ("csv",), "column": ("csv", "pattern"), "expression": ("pattern",)}
    for name, sources in owners.items():
        if getattr(words, name) is not None and chosen not in sources:
            raise ConfigError(
                f"--{name.replace('_', '-')} needs --labels {' or '.join(sources)}, but the "
                f"labels come from {chosen}."
            )
    if chosen == "csv":
        return CsvLabels(file=file, column=words.column or CsvLabels().column)
    if chosen == "pattern":
        usual = PatternLabels()
        return PatternLabels(words.expression or usual.pattern, words.column or usual.column)
    return FolderLabels() if chosen == "folder" else NoLabels()


def parse_axis(text: str | None, option: str) -> SpectralAxis | None:
    """Return the axis that ``mission`` or ``START:STOP:COUNT`` names; None for None.

    Raises:
        ConfigError: If the text is neither.
    """
    from hyperspec.spectra.axis import SpectralAxis, mission_axis

    if text is None:
        return None
    if text == "mission":
        return mission_axis()
    try:
        start, stop, count = text.split(":")
        return SpectralAxis.linear(float(start), float(stop), int(count))
    except ValueError as error:
        raise ConfigError(
            f"{option} is {text!r}; give {AXIS_HELP}, such as 400:1000:204. ({error})"
        ) from None
