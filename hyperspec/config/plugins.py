"""Options from outside of the package: modules that the user names, and installed entry points.

Both register what they bring when they are imported (:func:`hyperspec.bands.register` and its
like). Nothing else is ever imported: a config or a checkpoint that names a class of a module which
neither the user nor an installed package has named is refused.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from yaml import YAMLError

from hyperspec import bands, losses, models
from hyperspec.config import groups
from hyperspec.config.compose import OVERLAYS, config_folders, parse_options
from hyperspec.config.schema import Train
from hyperspec.evaluation.evaluators import chosen
from hyperspec.utils.errors import ConfigError
from hyperspec.utils.registry import foreign_modules, is_own
from hyperspec.utils.source_tree import plugin_hash

log = logging.getLogger(__name__)

ENTRY_POINTS: Mapping[str, Callable[[Any], object] | None] = {
    "hyperspec.bands": bands.register,
    "hyperspec.models": models.register,
    "hyperspec.losses": losses.register,
    "hyperspec.evaluators": None,
}
"""Groups of entry points, and what takes a class that one names; modules register by themselves."""


def load(modules: Sequence[str], key: str = "plugins") -> None:
    """Import modules, which register what they bring, and what is installed.

    The current folder is searched too, after all installed packages.

    Args:
        modules: Names, such as ``mypackage.bands``.
        key: What names them, for the message.

    Raises:
        ConfigError: If one cannot be imported.
    """
    folder = str(Path.cwd())
    if modules and folder not in sys.path:
        sys.path.append(folder)  # last, so that no file in it stands in for an installed package
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ConfigError(
                f"{key} names '{name}', which cannot be imported: {_reason(error)}. Give the name "
                f"of a module, such as mypackage.bands for mypackage/bands.py; it is looked for "
                f"among installed packages and in '{folder}'."
            ) from error
    load_installed()


@cache
def load_installed() -> None:
    """Load the entry points of installed packages; one that fails is told and left out."""
    for group, register in ENTRY_POINTS.items():
        for point in entry_points(group=group):
            try:
                made = point.load()
                if register is not None and isinstance(made, type):
                    register(made)
            except Exception as error:  # noqa: BLE001 - whatever a foreign package raises
                log.warning(
                    "the plug-in %s = %s (%s) was left out: %s",
                    *(point.name, point.value, group, _reason(error)),
                )


def load_from_words(words: Sequence[str]) -> None:
    """Load what words of ``hyperspec train`` and their overlays name, before they are composed.

    Raises:
        ConfigError: If a module cannot be imported, or ``plugins`` is no list.
    """
    load([*_named_in_files(words), *_named_in_words(words)])
    groups.register()


def sources(config: Train) -> dict[str, str]:
    """Return the hash of the source of each plug-in that a job uses or names, by module.

    A module of a package counts with the whole package.
    """
    modules = {*config.plugins, *foreign_modules(config)}
    for name in config.evaluation.curve_strategies:
        modules.add(bands.STRATEGIES[name].__module__)
    modules |= {one.run.__module__ for one in chosen(config.evaluation.scored_by)}
    files = dict(_source(name) for name in modules if not is_own(name))
    return {name: plugin_hash(path) for name, path in sorted(files.items())}


def _source(module: str) -> tuple[str, Path]:
    """Return the outermost package of a module, or the module itself, and where it lies."""
    parts = module.split(".")
    for number in range(1, len(parts) + 1):
        name = ".".join(parts[:number])
        # A folder without __init__.py is no package of the plug-in's, only a place of some.
        if file := getattr(importlib.import_module(name), "__file__", None):
            path = Path(file).resolve()
            return name, path.parent if path.name == "__init__.py" else path
    raise ConfigError(f"The plug-in '{module}' has no source file, so its jobs have no identity.")


def _named_in_words(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word.split("=", 1)[0].lstrip("+") != "plugins":
            continue
        try:
            given = OverridesParser.create().parse_override(word).value()
        except HydraException:
            given = None
        if not isinstance(given, list):
            raise ConfigError(f"{word} is no list; write plugins=[mypackage.module].")
        yield from (str(one) for one in given)


def _named_in_files(words: Sequence[str]) -> Iterator[str]:
    given = parse_options(words)
    chosen = [given.config_name]
    for word in given.settings:
        group, _, options = word.lstrip("+").partition("=")
        if group in OVERLAYS:
            chosen += [f"{group}/{option}" for option in options.split(",")]
    for name in chosen:
        for folder in config_folders(words):
            path = folder / f"{name.removesuffix('.yaml')}.yaml"
            if path.is_file():
                yield from _named_in(path)


def _named_in(path: Path) -> list[str]:
    """Return the plug-ins that a config file names.

    Raises:
        ConfigError: If it is no YAML of plain values, or no mapping.
    """
    try:
        content = OmegaConf.load(path)
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be read as YAML of plain values, and nothing in it was run: "
            f"{' '.join(str(error).split())}. Mend the file."
        ) from error
    plain = OmegaConf.to_container(content)
    named = plain.get("plugins") if isinstance(plain, dict) else 0
    if named is not None and not isinstance(named, list):
        what = "plugins that are no list" if isinstance(plain, dict) else "no settings by name"
        raise ConfigError(f"{path} holds {what}; write `key: value`, and plugins: [module].")
    return [str(one) for one in named or ()]


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(".")
