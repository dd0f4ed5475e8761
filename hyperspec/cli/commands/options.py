"""Words that several commands share: axes, lists."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
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


def words_of(text: str, option: str) -> list[str]:
    """Return the comma-separated words of an option.

    Raises:
        ConfigError: If there is none, or one is given twice.
    """
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found or len(set(found)) < len(found):
        raise ConfigError(f"{option} is {text!r}; give different words with commas between them.")
    return found
