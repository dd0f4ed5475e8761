"""Config objects as plain values, each under the name of its class, and back.

Only classes of the config schema and of loaded plug-ins are made from them, so that reading a
checkpoint runs nothing that a config could not name, and imports nothing that nobody has named.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from hyperspec.config.field_types import hints_of, misfits
from hyperspec.config.groups import OPTIONS
from hyperspec.config.plugins import load_installed
from hyperspec.config.schema import Train
from hyperspec.utils.errors import ConfigError, HyperspecError, ModelError
from hyperspec.utils.registry import label

_CLASS = "_class"


def to_plain(value: Any) -> Any:
    """Return nested config objects as dicts, each with the name of its class."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_CLASS: label(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(value: Any, modules: Sequence[str] = ()) -> Any:
    """Rebuild config objects from :func:`to_plain`; their own checks run again.

    Args:
        value: Plain values.
        modules: Plug-ins that the config was made with, for the message; read from it.

    Raises:
        ModelError: If a class or a field is not one of this version's config, nor a plug-in's that
            is loaded, or a value is not of its field's type.
        ConfigError: If a value is outside its range.
    """
    if isinstance(value, list):
        return [from_plain(item, modules) for item in value]
    if isinstance(value, str) and ("${" in value or value == "???"):
        raise ModelError(
            f"The checkpoint's config holds {value[:80]!r}, which would be computed here. "
            "hyperspec writes plain values only; take a checkpoint that it wrote."
        )
    if not isinstance(value, Mapping):
        return value
    if value.get(_CLASS) == Train.__name__:
        named = value.get("plugins", ())
        modules = [str(one) for one in named] if isinstance(named, list | tuple) else ()
    fields = {str(key): from_plain(item, modules) for key, item in value.items() if key != _CLASS}
    if _CLASS not in value:
        return fields
    name = str(value[_CLASS])
    known = _config_classes()
    module, colon, _ = name.partition(":")
    if colon and name not in known:
        load_installed()
        known = _config_classes()
    if colon and name not in known:
        raise ModelError(
            f"The checkpoint was trained with {name}, a plug-in that is not loaded. "
            f"{_advice(modules or [module])}"
        )
    unknown = sorted(
        set(fields) - {f.name for f in dataclasses.fields(known[name])} if name in known else [name]
    )
    if unknown:
        raise ModelError(
            f"The checkpoint's config holds {name}: {', '.join(unknown)}, which this version of "
            "hyperspec does not have. Read it with the version that wrote it."
        )
    return _built(known[name], fields, modules)


def _built(kind: type, fields: dict[str, Any], modules: Sequence[str]) -> Any:
    """Make an object of the schema, after a look at the types of its fields."""
    if wrong := misfits(kind, fields):
        raise ModelError(
            f"The checkpoint's config holds a {label(kind)} that cannot be: {wrong[0]}."
        )
    try:
        return kind(**fields)
    except ConfigError as error:
        if all(one in sys.modules for one in modules):
            raise
        # An evaluator, or whatever else is known by a name alone.
        raise ModelError(f"{error} {_advice(modules)}") from error
    except HyperspecError:
        raise
    except Exception as error:  # a field of any type, which the checks of its class take apart
        raise ModelError(
            f"The checkpoint's config holds a {label(kind)} that cannot be: {error or type(error)}."
        ) from error


def _advice(modules: Sequence[str]) -> str:
    return (
        "Reading a checkpoint imports nothing by itself. If you trust its plug-in, name it: add "
        f"--plugins {','.join(modules)} to the command, or import it first in Python."
    )


def _config_classes() -> dict[str, type]:
    """Return whatever the schema is made of: its options, and the types of their fields."""
    waiting = [Train, *(made for group in OPTIONS.values() for made in group.values())]
    found: dict[str, type] = {}
    while waiting:
        made = waiting.pop()
        if label(made) not in found:
            found[label(made)] = made
            waiting += [part for hint in hints_of(made).values() for part in _parts(hint)]
    return found


def _parts(hint: Any) -> list[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    return [part for inner in get_args(hint) for part in _parts(inner)]
