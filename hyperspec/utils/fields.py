"""What the dataclasses of options share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_type_hints

from hyperspec.utils.errors import ConfigError

# The default of a value that must be given: omegaconf.MISSING, which only the top imports.
MISSING: Any = "???"
# Metadata of fields that decide no result: two jobs that differ in them alone are the same job.
ASIDE = {"identity": False}
# Of fields that came later: jobs with the default are the same as before there was the field.
LATER = {"identity": "unless default"}


def free_keys(schema: Any, place: str = "") -> Iterator[str]:
    """Return the keys that decide no result, as a schema marks them; a sweep may change them.

    A config without a schema has no such keys. ``place`` stands before its keys.
    """
    if not dataclasses.is_dataclass(schema):
        return
    kinds = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        key = f"{place}{field.name}"
        if field.metadata.get("identity", True):
            yield from free_keys(kinds[field.name], f"{key}.")
        else:
            yield key


def at_least(key: str, value: int, least: int) -> None:
    """Check a whole number.

    Raises:
        ConfigError: If it is below the least; it names the config key.
    """
    if value < least:
        raise ConfigError(f"{key} is {value}; give a whole number of at least {least}.")


def one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Check a choice.

    Raises:
        ConfigError: If it is none of the choices; it names them and the config key.
    """
    if value not in choices:
        raise ConfigError(f"{key} is '{value}'; choose {', '.join(choices[:-1])} or {choices[-1]}.")


def check_range(key: str, value: int, low: int, high: int) -> None:
    """Raise :class:`ConfigError` naming the dotted key if the value leaves ``[low, high]``."""
    if not low <= value <= high:
        raise ConfigError(f"{key}={value} is out of range: use {low} to {high}.")
