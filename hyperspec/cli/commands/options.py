"""``hyperspec options``: every word that ``hyperspec train`` takes, with its meaning."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import add_plugins, load_plugins
from hyperspec.utils.errors import ConfigError

if TYPE_CHECKING:
    from hyperspec.config.option_list import Option

_WIDEST = 100


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("options", help="list the words of `train` with their meaning")
    parser.add_argument(
        "word",
        nargs="?",
        metavar="WORD",
        help="a group (bands), an option of one (bands=fisher), the start of keys (data.split), or "
        "a word to look for in names and meanings; without, all groups and the commonest words",
    )
    add_plugins(parser)
    parser.set_defaults(command=run)


def run(words: argparse.Namespace) -> int:
    """Print what fits the word."""
    from hyperspec.config import groups
    from hyperspec.config.option_list import list_groups, list_options

    load_plugins(words)
    if words.word is None:
        print_overview()
        return 0
    groups.register()
    known, options = list_groups(), list_options()
    group, _, chosen = str(words.word).partition("=")
    if group in known:
        _print_groups({group: known[group]})
    found = _select(options, group, chosen)
    if not found and group not in known:
        raise _unknown(words.word, [*known, *(option.key for option in options)])
    _print(found)
    return 0


COMMONEST = (
    *("data.root", "data.labels.column", "data.size", "data.split.rotate", "bands.n"),
    *("epochs", "batch_size", "lr", "loss.temperature", "seed"),
)


def print_overview() -> None:
    """Print the groups by what they decide, and the commonest words with their meaning."""
    from hyperspec.config import groups
    from hyperspec.config.field_docs import field_docs
    from hyperspec.config.option_list import list_groups, list_options
    from hyperspec.config.schema import Train

    groups.register()
    meanings = {**field_docs(Train), **_BESIDE}
    for group, names in list_groups().items():
        if group in meanings:
            print(f"\n{meanings[group]}")
        _print_groups({group: names})
    print("\nThe commonest words (hyperspec options GROUP lists all of one):")
    by_key = {option.key: option for option in reversed(list_options())}
    _print([replace(by_key[key], choice="") for key in COMMONEST])


# Groups that are no part of a run's config.
_BESIDE = {
    "experiment": "A study: what differs from the defaults, and what is swept.",
    "search": "Turns a study's grid into an Optuna search.",
    "hydra/launcher": "Where the jobs of a sweep run; without it one after the other, here.",
}


def _select(options: Iterable[Option], group: str, chosen: str) -> list[Option]:
    place = group.replace("/", ".")
    below = [one for one in options if one.key == place or one.key.startswith(f"{place}.")]
    if chosen:
        return [one for one in below if one.choice in ("", f"{group}={chosen}")]
    if below:
        return below
    word = group.lower()
    return [one for one in options if word in one.key.lower() or word in one.meaning.lower()]


def _unknown(word: str, names: Iterable[str]) -> ConfigError:
    from hyperspec.config.option_list import nearest

    near = nearest(word, names)
    return ConfigError(
        f"'{word}' is no group or key of the config, and no meaning has the word. "
        + (f"Did you mean {near}?" if near else "`hyperspec options` lists the groups.")
    )


def _print_groups(known: dict[str, list[str]]) -> None:
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    for group, names in known.items():
        text = f"{group}={'|'.join(names)}"
        lines = textwrap.wrap(
            text.replace("|", " | "), width, subsequent_indent="    ", break_long_words=False
        )
        print("\n".join(lines))


def _print(options: Iterable[Option]) -> None:
    from hyperspec.config.groups import OPTIONS

    width = min(shutil.get_terminal_size().columns, _WIDEST)
    shown: dict[tuple[str, str, str, str], list[str]] = {}
    for one in options:
        same = (one.key, one.kind, one.default, one.meaning)
        shown.setdefault(same, []).append(one.choice)
    for (key, kind, default, meaning), choices in shown.items():
        group = choices[0].partition("=")[0]
        every = group and len(choices) == len(OPTIONS[group])
        of = "" if every else ", ".join(filter(None, choices))
        value = f" = {default}" if default else " (must be given)"
        print(f"\n{key}{value}    [{kind}]" + (f"    with {of}" if of else ""))
        for line in textwrap.wrap(meaning.replace("``", "`"), width - 4):
            print(f"    {line}")
