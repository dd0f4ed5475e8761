"""What every table of options asks of a class that is added to it from outside of the package."""

from __future__ import annotations

import dataclasses
from collections.abc import MutableMapping
from typing import TypeVar

from hyperspec.utils.errors import ConfigError

_Kind = TypeVar("_Kind", bound=type)


def add_option(
    options: MutableMapping[str, type], group: str, kind: _Kind, base: type, hook: str = ""
) -> _Kind:
    """Add a class to the options of a config group, and return it.

    Args:
        options: Options by name; changed in place. The same class again changes nothing.
        group: Name of the config group, for the message.
        kind: A dataclass with a ``name``, below ``base``.
        base: What all options of the group derive from.
        hook: Method of the base that an option overrides; abstract ones are asked for anyway.

    Raises:
        ConfigError: If the class is no option, or its name is that of another one.
    """
    where = f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else repr(kind)
    if not isinstance(kind, type) or not issubclass(kind, base):
        raise ConfigError(f"{where} is no option of '{group}': derive it from {base.__name__}.")
    if "__dataclass_fields__" not in vars(kind):
        raise ConfigError(
            f"{where} is no dataclass, so that its options have no names and types. Write "
            "@dataclass between @register and the class."
        )
    missing = set(getattr(kind, "__abstractmethods__", ()))
    if hook and getattr(kind, hook) is getattr(base, hook):
        missing.add(hook)
    if missing:
        raise ConfigError(f"{where} has no {', '.join(sorted(missing))} of its own; write it.")
    name = getattr(kind, "name", "")
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(
            f"{where} has the name {name!r}; give `name` a word of letters, digits and "
            f"underscores, by which {group}=... chooses it."
        )
    known = options.setdefault(name, kind)
    if known is not kind and (known.__module__, known.__qualname__) != (
        kind.__module__,
        kind.__qualname__,
    ):
        raise ConfigError(
            f"{group}={name} is {known.__module__}.{known.__qualname__} already; give {where} "
            "another name."
        )
    options[name] = kind  # of a module that was imported anew, the newer class
    return kind


def is_own(module: str) -> bool:
    """Say whether a module is the package's own, not a plug-in's."""
    return module.split(".")[0] == __name__.split(".")[0]


def label(kind: type) -> str:
    """Return the name of a class in a stored config: a plug-in's with its module."""
    return kind.__name__ if is_own(kind.__module__) else f"{kind.__module__}:{kind.__qualname__}"


def foreign_modules(value: object) -> set[str]:
    """Return the modules of all classes in nested config objects that are not the package's own."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (getattr(value, field.name) for field in dataclasses.fields(value))
        inner = set().union(*(foreign_modules(one) for one in fields))
        module = type(value).__module__
        return inner if is_own(module) else inner | {module}
    if isinstance(value, list | tuple):
        return set().union(*(foreign_modules(one) for one in value))
    return set()
