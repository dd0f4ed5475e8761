"""What the dataclasses of options share."""

from __future__ import annotations

from typing import Any

from hyperspec.utils.errors import ConfigError

# The default of a value that must be given: omegaconf.MISSING, which only the top imports.
MISSING: Any = "???"
# Metadata of fields that decide no result: two jobs that differ in them alone are the same job.
ASIDE = {"identity": False}


def at_least(key: str, value: int, least: int) -> None:
    """Check a whole number.

    Args:
        key: Its config key.
        value: The number.
        least: The smallest allowed.

    Raises:
        ConfigError: If it is smaller.
    """
    if value < least:
        raise ConfigError(f"{key} is {value}; give a whole number of at least {least}.")
