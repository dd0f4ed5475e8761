"""A command that meets an earlier one: in the same folder, in the same study, at the same time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hyperspec.config.compose import hydra_string, typed_words
from hyperspec.config.found_device import is_asked
from hyperspec.tracking.client import Connection
from hyperspec.tracking.contract import Tag
from hyperspec.tracking.names import as_text, flatten
from hyperspec.tracking.record import ended
from hyperspec.utils.atomic import write_text
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.fields import free_keys
from hyperspec.utils.text import names

ASKED = "asked.json"
_SHOWN = 8  # differences that are listed


def asked(config: DictConfig, space: Mapping[str, str]) -> dict[str, str]:
    """Return what a sweep asks: its varied keys, and the values of all others."""
    plain = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)
    assert isinstance(plain, dict)
    plain.pop("hydra", None)
    values = {
        # What the machine decides, as it was kept before there was hardware=auto.
        key: as_text(OmegaConf.select(config, key)) if is_asked(value) else value
        for key, value in {**flatten(plain), **space}.items()
    }
    schema = OmegaConf.get_type(config)
    free = tuple(f"{key}." for key in free_keys(schema))
    marked = dict(_marked(config))
    usual = flatten({key: _default(f) for key, f in marked.items() if _is_later(f)})
    for key, field in marked.items():
        if key in values:
            same = field.metadata.get("counts_as", {})
            values[key] = as_text(same.get(values[key], values[key]))  # false is kept as `false`
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


def _marked(config: DictConfig, place: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Return the fields that came later or count as another value, by their keys.

    Earlier versions lacked the former (``metadata={"identity": "unless default"}``) and had another
    default for the latter (``counts_as``). The options that are chosen say it, not the schema of
    their groups, which may know nothing of them.
    """
    kind = OmegaConf.get_type(config)
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        key, name = f"{place}{field.name}", field.name
        if _is_later(field) or "counts_as" in field.metadata:
            yield key, field
        elif OmegaConf.is_missing(config, name) or OmegaConf.is_interpolation(config, name):
            continue
        elif isinstance(inner := config[name], DictConfig):
            yield from _marked(inner, f"{key}.")


def _is_later(field: dataclasses.Field[Any]) -> bool:
    return field.metadata.get("identity") == "unless default"


def _default(field: dataclasses.Field[Any]) -> object:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    keys = [key for key in sorted({*then, *now}) if then.get(key) != now.get(key)]
    pairs = [(key, then.get(key, "not set"), now.get(key, "not set")) for key in keys[:_SHOWN]]
    told = [f"{key} was {before} and is {after}" for key, before, after in pairs]
    return [*told, f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else told


def _redirect(config: DictConfig, folder: str) -> None:
    """Let the sweep and its jobs, which are composed anew from the overrides, use a folder."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = folder
        kept = [w for w in typed_words(config, "hydra") if not w.startswith("hydra.sweep.dir=")]
        config.hydra.overrides.hydra = [*kept, f"hydra.sweep.dir={hydra_string(folder)}"]


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
