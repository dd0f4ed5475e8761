"""``hyperspec completion``: what the shell offers behind the Tab key."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable, Mapping

from hyperspec.cli.commands import Commands
from hyperspec.cli.parser import Parser

_SCRIPTS = {
    # Bash takes what stands behind "=" as a word of its own, so that only its end is replaced.
    "bash": """\
_hyperspec() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=($(hyperspec completion bash --line "$line" 2>/dev/null))
    [ ${#COMPREPLY[@]} -gt 0 ] || { compopt +o nospace 2>/dev/null; return 1; }
}
complete -o nospace -o default -o bashdefault -F _hyperspec hyperspec
""",
    "zsh": """\
#compdef hyperspec
_hyperspec() {
    local -a found
    found=("${(@f)$(hyperspec completion zsh --line "${BUFFER[1,CURSOR]}" 2>/dev/null)}")
    if [ -n "${found[1]}" ]; then compadd -Q -S '' -a found; else _files; fi
}
compdef _hyperspec hyperspec
""",
    "fish": """\
complete -c hyperspec -a '(hyperspec completion fish --line (commandline -cp) 2>/dev/null)'
""",
}


def add(commands: Commands) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "completion", help='completion for a shell: eval "$(hyperspec completion bash)"'
    )
    parser.add_argument("shell", choices=list(_SCRIPTS), help="whose script is printed")
    parser.add_argument("--line", help=argparse.SUPPRESS)
    parser.set_defaults(command=lambda words: run(words, commands.choices))


def run(words: argparse.Namespace, parsers: Mapping[str, Parser]) -> int:
    """Print the shell's script, or what may stand at the end of a line."""
    if words.line is None:
        print(_SCRIPTS[words.shell], end="")
        return 0
    for found in complete(words.line, parsers, after_equals=words.shell == "bash"):
        print(found)
    return 0


def complete(line: str, parsers: Mapping[str, Parser], *, after_equals: bool = False) -> list[str]:
    """Return what may stand at the end of a line; empty leaves it to names of files.

    Args:
        line: From the command's name to the cursor.
        parsers: Of the commands, by name.
        after_equals: Whether the shell takes what follows ``=`` as a word of its own.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # inside of quotes
        return []
    last = "" if not line or line[-1].isspace() else words.pop()
    if len(words) < 2:
        return _ended(last, parsers)
    if words[1] == "train":
        return _train_words(last, after_equals)
    if words[1] == "options":
        return _ended(last, (word.rstrip("=") for word in _train_words("", after_equals)))
    parser = parsers.get(words[1])
    if parser is None:
        return []
    if last.startswith("-"):
        return _ended(last, parser.flags)
    return _values(parser, words, last)


def _values(parser: Parser, words: list[str], last: str) -> list[str]:
    action = parser._option_string_actions.get(words[-1])
    if action is not None and action.choices:
        return _ended(last, map(str, action.choices))
    takes_sweeps = {"evaluate", "embed", "explore", "importance", "report", "results"}
    if action is None and words[1] in takes_sweeps and len(words) == 2:
        return _ended(last, ["latest", *_sweep_names()])
    places = [one for one in parser._actions if not one.option_strings and one.choices]
    return _ended(last, (str(name) for one in places for name in one.choices or ()))


def _ended(start: str, names: Iterable[str]) -> list[str]:
    """Return the names that begin so, each with a space behind it."""
    return [f"{name} " for name in names if name.startswith(start)]


def _train_words(last: str, after_equals: bool) -> list[str]:
    from hyperspec.config.option_list import list_groups, list_options

    known = list_groups()
    group, equals, start = last.lstrip("+").partition("=")
    options = {option.key: option for option in list_options()}
    if not equals:
        if last.startswith("-"):
            return _ended(last, ("-m", "--multirun", "--help", "--quiet", "--cfg", "--config-dir"))
        names = [*known, *options]
        return [f"{name}=" for name in names if name.startswith(group)]
    *earlier, start = start.split(",")
    values = known.get(group) or _choices(options[group].kind if group in options else "")
    before = "".join(f"{one}," for one in earlier)
    typed = before if after_equals else f"{last[: len(last) - len(start) - len(before)]}{before}"
    return [f"{typed}{value}" for value in values if value.startswith(start)]


def _choices(kind: str) -> list[str]:
    """Return the words that a key may hold, where these are all."""
    if kind in ("text", "number", "whole number", "any") or kind.startswith(("list", "mapping")):
        return []
    words = re.split(r", | or ", kind)
    return [word for word in words if word not in ("text", "number", "whole number", "any")]


def _sweep_names() -> list[str]:
    """Return the names of the sweeps in this folder's store; none without one, or in trouble."""
    from hyperspec.tracking.sweep_names import newest_sweeps

    return newest_sweeps()
