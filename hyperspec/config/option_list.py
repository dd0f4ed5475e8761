"""Every group with its options and every key with its meaning, for lists, hints and completion."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from hyperspec.config import config_dir, groups
from hyperspec.config.field_docs import field_docs
from hyperspec.config.found_device import is_asked
from hyperspec.config.schema import Train


@dataclass(frozen=True)
class Option:
    """A key of the config.

    Args:
        key: As it is typed, such as ``data.split.rotate``.
        kind: Its type in words, such as ``int or null``.
        default: As it is typed; empty where a value must be given.
        meaning: One line.
        choice: Option of a group that has the key, such as ``bands=fisher``; empty for all.
    """

    key: str
    kind: str
    default: str
    meaning: str
    choice: str = ""


def list_groups() -> dict[str, list[str]]:
    """Return the options of each group, by name; those that plug-ins registered are among them."""
    root = config_dir()
    found: dict[str, set[str]] = {}
    within = {*groups.OPTIONS, "loss/global_loss", "hydra/launcher"}
    for path in root.rglob("*.yaml"):
        group, _, last = path.parent.relative_to(root).as_posix().rpartition("/")
        name = path.stem
        if f"{group}/{last}".strip("/") in within or not group:
            group = f"{group}/{last}".strip("/")
        else:  # bands=receptors/bluetit: options of one kind, in a folder of their own
            name = f"{last}/{name}"
        if group != ".":
            found.setdefault(group, set()).add(name)
    for group, options in groups.OPTIONS.items():
        for name, node in options.items():
            if group in groups.places(group, name, node):
                found.setdefault(group, set()).add(name)
    return {group: sorted(found[group]) for group in sorted(found)}


def list_options() -> list[Option]:
    """Return all keys, those of every option of a group after those that all runs have."""
    top = _in_yaml("train")
    found = [*_keys(Train, "", "", top)]
    usual = {group: name for one in top["defaults"] for group, name in _pairs(one)}
    for group, options in groups.OPTIONS.items():
        place = f"{group.replace('/', '.')}."
        for name, node in options.items():
            choice = f"{group}={name}" if len(options) > 1 else ""
            found += _keys(node, place, choice, _set_by_file(group, name, usual.get(group)))
    return list(dict.fromkeys(found))


def _pairs(entry: Any) -> Iterator[tuple[str, str]]:
    if isinstance(entry, dict):
        yield from entry.items()


def _set_by_file(group: str, name: str, usual: str | None) -> dict[str, Any]:
    """Return what the file of a class sets; of several files, that of the usual option."""
    for option in (name, usual):
        found = _in_yaml(f"{group}/{option}")
        if any(f"/schema/{group}/{name}" in str(key) for key in found.get("defaults", ())):
            return found
    return {}


def _in_yaml(name: str) -> dict[str, Any]:
    """Return what an option's file of the package sets, which wins over the defaults of fields."""
    path = config_dir() / f"{name}.yaml"
    if not path.is_file():
        return {}
    plain = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return {str(key): value for key, value in plain.items()} if isinstance(plain, dict) else {}


def _keys(node: type, place: str, choice: str, given: dict[str, Any]) -> Iterator[Option]:
    meanings, kinds = field_docs(node), get_type_hints(node)
    for field in dataclasses.fields(node):
        key, kind = f"{place}{field.name}", kinds[field.name]
        if key.replace(".", "/") in groups.OPTIONS:
            continue  # listed with its options
        if dataclasses.is_dataclass(kind):
            below = given.get(field.name)
            inner = below if isinstance(below, dict) else {}
            yield from _keys(typing.cast(type, kind), f"{key}.", choice, inner)
            continue
        meaning = meanings.get(field.name, "")
        default = _typed(given[field.name]) if field.name in given else _default(field)
        yield Option(key, kind_in_words(kind), default, meaning, choice)


def kind_in_words(kind: Any) -> str:
    """Return a type as people say it: ``whole number or null``, ``auto, always or never``."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _joined([str(value) for value in inner])
    if origin in (typing.Union, types.UnionType):
        some = [kind_in_words(one) for one in inner if one is not type(None)]
        return _joined([*some, *["null" for one in inner if one is type(None)]])
    if origin is list:
        return f"list of {kind_in_words(inner[0])}" if inner else "list"
    if origin in (dict, tuple):
        return "mapping" if origin is dict else "list"
    words = {bool: "true or false", str: "text", int: "whole number", float: "number", Any: "any"}
    return words.get(kind, getattr(kind, "__name__", str(kind)))


def _joined(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    return "" if value is dataclasses.MISSING or value == "???" else _typed(value)


def _typed(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "as found" if is_asked(value) else str(value).replace("'", "")


def nearest(word: str, names: typing.Iterable[str]) -> str | None:
    """Return the name that somebody who typed a word most likely meant; None if none is near."""
    found = difflib.get_close_matches(word, list(names), 1, cutoff=0.6)
    return found[0] if found else None


def nearest_key(key: str) -> str | None:
    """Return the key that somebody most likely meant, whatever group it stands in."""
    known = list(dict.fromkeys(option.key for option in list_options()))
    last = key.rpartition(".")[2]
    alike = [one for one in known if one.rpartition(".")[2] == last]
    if alike:  # the right name in a wrong place
        return min(alike, key=lambda one: (one.count("."), one))
    return nearest(key, known) or nearest(last, known)
