"""A command that meets an earlier one: in the same folder, in the same study, at the same time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.names import flatten
from hyperspec.tracking.record import ended
from hyperspec.utils.atomic import write_text
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.text import names

ASKED = "asked.json"
_SHOWN = 8  # differences that are listed


def asked(config: DictConfig, space: Mapping[str, str]) -> dict[str, str]:
    """Return what a sweep asks: its varied keys, and the values of all others."""
    plain = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)
    assert isinstance(plain, dict)
    plain.pop("hydra", None)
    values = {**flatten(plain), **space}
    schema = OmegaConf.get_type(config)
    free = tuple(f"{key}." for key in free_keys(schema))
    usual = flatten(dict(usual_values(schema)))
    for group in map(
        str, plain
    ):  # the chosen option may have more fields than the schema's own class
        option = OmegaConf.get_type(config, group)
        usual |= flatten(dict(usual_values(option, f"{group}.")))
    return {
        key: value
        for key, value in sorted(values.items())
        if not f"{key}.".startswith(free) and usual.get(key) != value
    }


def settle_folder(config: DictConfig, folder: Path, space: Mapping[str, str]) -> Path:
    """Hold a sweep's folder to what it was begun with, or fork it; return the folder to use.

    With ``sweep.changed=fork`` a sweep that asks something else goes to the folder's first free
    neighbour (``NAME-2``, ...), or to the one that was begun with the same.

    Raises:
        ConfigError: If the folder was begun with something else; the message has the differences.
    """
    now = asked(config, space)
    for candidate in names(str(folder)):
        then = _read(Path(candidate))
        differences = _differences(then, now) if then is not None else []
        if not differences:
            write_text(Path(candidate) / ASKED, json.dumps(now, indent=2), private=True)
            if candidate != str(folder):
                _redirect(config, candidate)
            return Path(candidate)
        if OmegaConf.select(config, "sweep.changed") != "fork":
            raise ConfigError(
                f"hydra.sweep.dir={folder} holds a sweep that was begun with something else: "
                f"{'; '.join(differences)}. Take the old values to go on with it, another "
                "hydra.sweep.dir, or sweep.changed=fork, which takes a folder beside it."
            )
    raise AssertionError("names() does not end")


def check_busy(config: DictConfig, connection: Connection, command: str) -> str | None:
    """Say in a line whether the same command runs now, and what that means.

    Raises:
        ConfigError: If it does and ``sweep.when_busy`` is ``refuse``.
    """
    if connection.offline:
        return None
    found = connection.search(Tag.KIND.equals("sweep"), ended("RUNNING"))
    same = [run for run in found if run.tag(Tag.COMMAND) == command and not run.is_left_behind]
    if not same:
        return None
    name, when_busy = same[0].name, OmegaConf.select(config, "sweep.when_busy")
    if when_busy == "refuse":
        raise ConfigError(
            f"The same command runs as '{name}' on {same[0].tag(Tag.HOST)}, and "
            "sweep.when_busy is refuse. Wait for it, or give sweep.when_busy=wait to take over its "
            "results job by job, or join to share the work."
        )
    if when_busy == "join":
        return f"joins '{name}', which runs now: jobs in another order, each of them once"
    return f"the same command runs as '{name}': each of its jobs is waited for, none runs twice"


def usual_values(schema: Any, place: str = "") -> Iterator[tuple[str, object]]:
    """Return keys that earlier versions lacked, with the values that change nothing.

    The schema marks them with ``metadata={"identity": "unless default"}``.
    """
    if not dataclasses.is_dataclass(schema):
        return
    kinds = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        key, factory = f"{place}{field.name}", field.default_factory
        if field.metadata.get("identity") == "unless default":
            yield key, field.default if factory is dataclasses.MISSING else factory()
        else:
            yield from usual_values(kinds[field.name], f"{key}.")


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


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    keys = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    pairs = [(key, then.get(key, "not set"), now.get(key, "not set")) for key in keys[:_SHOWN]]
    told = [f"{key} was {before} and is {after}" for key, before, after in pairs]
    return [*told, f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else told


def _redirect(config: DictConfig, folder: str) -> None:
    """Let the sweep and its jobs, which are composed anew from the overrides, use a folder."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = folder
        kept = [w for w in config.hydra.overrides.hydra if not w.startswith("hydra.sweep.dir=")]
        quoted = folder.replace("\\", "\\\\").replace("'", "\\'")
        config.hydra.overrides.hydra = [*kept, f"hydra.sweep.dir='{quoted}'"]


def _read(folder: Path) -> dict[str, str] | None:
    path = folder / ASKED
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in content.items()}
    except (json.JSONDecodeError, AttributeError) as error:
        raise ConfigError(
            f"{path} does not say what the sweep in this folder asked ({error}). Remove the file "
            "or give another hydra.sweep.dir."
        ) from error
