"""Write the pages of the reference from the schema, the parsers and the docstrings.

    python docs/make_reference.py           # write them
    python docs/make_reference.py --check   # say which are stale

``options.md``, ``commands.md``, and the end of ``python.md``; ``tests/test_reference.py`` checks.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hyperspec
from hyperspec.cli.functions import Encoder
from hyperspec.cli.main import COMMANDS
from hyperspec.cli.parser import Parser
from hyperspec.cli.specimen_folder import SpecimenFolder
from hyperspec.config import config_dir, groups
from hyperspec.config.option_list import Option, list_groups, list_options
from hyperspec.cubes.cube import Cube
from hyperspec.runs.job import TrainedRun
from hyperspec.spectra.axis import SpectralAxis
from hyperspec.spectra.selection import BandSelection

DOCS = Path(__file__).resolve().parent
MADE = "<!-- made by `python docs/make_reference.py` -->"
FUNCTIONS = ("open", "catalogue", "train", "sweep", "results", "load")
CLASSES = (Cube, SpectralAxis, BandSelection, SpecimenFolder, TrainedRun, Encoder)
_OPTIONS_HEAD = f"""\
# Options: every word of `hyperspec train`

{MADE}

`hyperspec options` says the same on the terminal, `hyperspec options bands=fisher` that of one
option, `hyperspec options WORD` where a word is found. Other commands that read a folder take the
keys of `data`. An empty default has to be given."""
_COMMANDS_HEAD = f"""\
# Commands

{MADE}

`hyperspec COMMAND --help` says the same. Exit statuses: 0 it went well; 1 it ran, and something is
left to look at (a job failed, `check` has warnings, `sync` could not send all); 2 the words or the
data are wrong, and nothing was begun; 141 the reader of a pipe has gone.

## `hyperspec train`

`[group=option ...] [key=value ...]`, with `-m` for every combination: see [options](options.md),
[sweeps](sweeps.md). Words of Hydra: `--cfg job` prints the composed config, `--config-dir DIR` adds
a folder of configs of your own, `--help` lists the groups."""
_SECTION = re.compile(r"^(Args|Returns|Raises|Source):$", re.MULTILINE)


def options_page() -> str:
    """Return every group with its options and every key, with type, default and meaning."""
    groups.register()
    options, known = list_options(), list_groups()
    lines = [_OPTIONS_HEAD]
    for group in known:
        lines += ["", f"## `{group}=`", "", "| option | is |", "| --- | --- |"]
        lines += [f"| `{group}={name}` | {_comment(group, name)} |" for name in known[group]]
        lines += _table(one for one in options if _group_of(one, known) == group)
    lines += ["", "## Keys of a run", "", "Of no group; written as they stand."]
    lines += _table(one for one in options if _group_of(one, known) is None)
    return "\n".join(lines) + "\n"


def _group_of(option: Option, known: dict[str, list[str]]) -> str | None:
    """Return the group that an option's key is of: the longest that it begins with."""
    fitting = [g for g in known if option.key.startswith(f"{g.replace('/', '.')}.")]
    fitting = [g for g in fitting if g not in ("search", "experiment")]  # overlays have no keys
    return max(fitting, key=len, default=None)


def _comment(group: str, name: str) -> str:
    """Return the first comment of an option's file, or what its class says of itself."""
    path = config_dir() / group / f"{name}.yaml"
    if not path.is_file():
        node = groups.OPTIONS.get(group, {}).get(name)
        return _line((inspect.getdoc(node) or "").split("\n\n")[0]) if node else ""
    text = path.read_text()
    asked = re.search(r"^# Question: +(.*)$", text, re.MULTILINE)
    if asked is not None:
        return _line(asked[1])
    comments = [one for one in text.split("\n# @package")[-1].splitlines() if one.startswith("# ")]
    comments = [one for one in comments if "@package" not in one]
    return _line(comments[0].removeprefix("# ")) if comments else ""


def _table(options: Iterator[Option]) -> list[str]:
    """Return a row per key; keys that several options have with one meaning are one row."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for one in options:
        rows.setdefault((one.key, one.default, one.kind, one.meaning), []).append(one.choice)
    if not rows:
        return []
    head = ["", "| key | default | type | meaning |", "| --- | --- | --- | --- |"]
    return head + [
        f"| `{key}` | {f'`{default}`' if default else ''} | {_cell(kind)} "
        f"| {_cell(meaning)}{_of(choices)} |"
        for (key, default, kind, meaning), choices in rows.items()
    ]


def _of(choices: list[str]) -> str:
    group = choices[0].partition("=")[0]
    if not group or len(choices) == len(groups.OPTIONS[group]):
        return ""
    return f" With {', '.join(f'`{choice}`' for choice in choices)}."


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|").replace("<", "&lt;")


def _line(text: str) -> str:
    """Return a docstring's text as one line of Markdown: no roles, single backticks."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    text = re.sub(r"`?\bdocs/(\w+\.md)`?", r"[\1](\1)", text)
    return " ".join(text.split())


def commands_page() -> str:
    """Return every command with what it takes."""
    parser = Parser(prog="hyperspec")
    commands = parser.add_subparsers()
    for module in COMMANDS:
        module.add(commands)
    lines = [_COMMANDS_HEAD]
    helps = {action.dest: action.help for action in commands._choices_actions}
    for name, command in commands.choices.items():
        actions = [one for one in command._actions if one.help != argparse.SUPPRESS]
        own = [one for one in actions if one.dest != "help"]
        words = " ".join(_word(one) for one in own if not one.option_strings)
        lines += ["", f"## `{' '.join(filter(None, ['hyperspec', name, words]))}`", ""]
        lines.append(_sentence(command.description or helps.get(name) or ""))
        if own:
            lines += ["", "| word | meaning |", "| --- | --- |"]
            lines += [f"| `{_shown(one)}` | {_help(one)} |" for one in own]
        if command.epilog:
            lines += ["", _sentence(command.epilog)]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    text = _line(text)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") or not text else ".")


def _help(action: argparse.Action) -> str:
    text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    if action.choices and not all(str(one) in text for one in action.choices):
        text = "; ".join(filter(None, [text, ", ".join(map(str, action.choices))]))
    return _cell(text)


def _word(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest.upper())
    more = {"*": f"[{name} ...]", "+": f"{name} [...]", "?": f"[{name}]"}
    return more.get(str(action.nargs), name)


def _shown(action: argparse.Action) -> str:
    if not action.option_strings:
        return _word(action)
    value = "" if action.nargs == 0 else f" {_word(action)}"
    return ", ".join(action.option_strings) + value


def python_reference() -> str:
    """Return what the public functions and their results say of themselves."""
    lines = [MADE, ""]
    for name in FUNCTIONS:
        lines += _described(f"hyperspec.{name}", getattr(hyperspec, name), "##")
    for kind in CLASSES:
        lines += [f"## `{kind.__name__}`", "", *_text(kind), ""]
        for name, member in vars(kind).items():
            # The default of a field has the docstring of its type.
            written = inspect.isroutine(member) or hasattr(member, "__get__")
            if name.startswith("_") or not written or not inspect.getdoc(member):
                continue
            if inspect.isfunction(member) or isinstance(member, classmethod):
                lines += _described(f"{kind.__name__}.{name}", getattr(kind, name), "###")
            else:
                lines += [f"### `{kind.__name__}.{name}`", "", *_text(member), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _described(name: str, function: Callable[..., Any], level: str) -> list[str]:
    drawn = str(inspect.signature(function)).replace("'", "")
    drawn = re.sub(r"\b(?:hyperspec|pathlib|collections\.abc|numpy\.typing)\.(?:\w+\.)*", "", drawn)
    drawn = drawn.replace("(self, ", "(").replace("(self)", "()")
    return [f"{level} `{name}`", "", f"`{name}{drawn}`", "", *_text(function), ""]


def _text(of: object) -> list[str]:
    """Return a Google-style docstring as Markdown: its text, then a list for each section."""
    doc = inspect.getdoc(of) or ""
    first, *rest = _SECTION.split(doc)
    found = [_line(paragraph) for paragraph in first.strip().split("\n\n")]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        entries = re.split(r"\n    (?=\S)", body.rstrip())[1:]
        if title in ("Args", "Raises"):
            pairs = (entry.partition(": ") for entry in entries)
            items = [f"- `{name}`: {_line(text)}" for name, _, text in pairs]
            found.append("\n".join([f"{'Arguments' if title == 'Args' else title}:", "", *items]))
        else:
            found.append(f"{title}: {_line(' '.join(entries))}")
    return "\n\n".join(found).split("\n")


def pages() -> dict[Path, str]:
    """Return what each page has to hold."""
    written = DOCS / "python.md"
    own = written.read_text(encoding="utf-8").partition(MADE)[0]
    return {
        DOCS / "options.md": options_page(),
        DOCS / "commands.md": commands_page(),
        written: own + python_reference(),
    }


def main(words: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` name those that are stale; return the exit status."""
    stale = [path for path, text in pages().items() if not _holds(path, text)]
    for path in stale:
        if "--check" in words:
            print(f"{path.name} is stale; run: python docs/make_reference.py")
        else:
            path.write_text(pages()[path], encoding="utf-8")
            print(f"wrote {path.name}")
    return int("--check" in words and bool(stale))


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
