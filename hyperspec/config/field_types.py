"""Whether a plain value is of the type that a field of the schema declares, as Hydra checks it."""

from __future__ import annotations

import dataclasses
import types
from functools import cache
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields by name."""
    return get_type_hints(kind)


def misfits(kind: type, fields: dict[str, Any]) -> list[str]:
    """Return what is wrong with the values for a dataclass, a line for each field.

    Args:
        kind: The dataclass.
        fields: Values by name; dataclasses of nested configs are objects already.
    """
    hints = hints_of(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}
    lines = [
        f"{name} is {_shown(value)}, where {_word(hints[name])} belongs"
        for name, value in fields.items()
        if name in known and not fits(value, hints[name])
    ]
    nothing = dataclasses.MISSING
    lines += [
        f"{name} is not given"
        for name, f in known.items()
        if name not in fields and f.default is nothing and f.default_factory is nothing
    ]
    return lines


def fits(value: object, hint: Any) -> bool:
    """Say whether a value is of a type; a whole number is a float too, and a bool is no number."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if hint is ClassVar or origin is ClassVar:
        return False
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if hint in (int, float):
        kinds = (int, float) if hint is float else (int,)
        return isinstance(value, kinds) and not isinstance(value, bool)
    if origin is dict:
        keys, values = inner
        return isinstance(value, dict) and all(
            fits(k, keys) and fits(v, values) for k, v in value.items()
        )
    if origin is not None and issubclass(origin, list | tuple):
        return isinstance(value, list | tuple) and all(fits(one, inner[0]) for one in value)
    return isinstance(value, origin or hint)


def _word(hint: Any) -> str:
    return getattr(hint, "__name__", "") if get_origin(hint) is None else str(hint)


def _shown(value: object) -> str:
    if dataclasses.is_dataclass(value):
        return f"a {type(value).__name__}"
    return f"{value!r:.60}"
