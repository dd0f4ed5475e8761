"""The blocks of README.md and of docs/, and what each line of a console block means."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep

from hyperspec.cli.commands.words import split_words
from hyperspec.cli.main import COMMANDS
from hyperspec.cli.parser import Parser
from hyperspec.config.compose import compose_words, prepare_arguments
from hyperspec.config.compose_data import compose_data
from hyperspec.config.groups import register, to_job

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WHY_NOT = re.compile(r"<!-- not run: (.+) -->")
# Words of a shell around the commands; nothing of ours is in them.
SHELL = {"cd", "source", "eval", "git", "mkdir", "export", "sudo", "deactivate"}
_OPENS = re.compile(r"( *)(```+)(\S*)")
_LIST = re.compile(r"\s*([-*]|\d+\.) ")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: Its file.
        line: Of the opening fence, from 1.
        language: Behind the fence; empty without.
        text: What it holds.
        why_not: Why it is not run; empty where it is.
    """

    page: Path
    line: int
    language: str
    text: str
    why_not: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks_of(page: Path, text: str | None = None) -> list[Block]:
    """Return the blocks of a page; one that is made by indents alone has no language."""
    lines = (page.read_text(encoding="utf-8") if text is None else text).splitlines()
    found, above, place = list[Block](), ["", ""], 0
    in_list = False
    while place < len(lines):
        line = lines[place]
        fence = _OPENS.fullmatch(line)
        if fence is not None:
            end = place + 1
            while lines[end].strip() != fence[2]:
                end += 1
            indent = len(fence[1])
            inner = "".join(f"{one[indent:]}\n" for one in lines[place + 1 : end])
            marked = WHY_NOT.fullmatch(above[-1].strip() or above[-2].strip())
            why = "" if marked is None else marked[1]
            found.append(Block(page, place + 1, fence[3], inner, why))
            place = end
        elif line.startswith("    ") and not above[-1].strip() and not in_list:
            found.append(Block(page, place + 1, "", f"{line.strip()}\n", ""))
        elif line.strip():
            in_list = bool(_LIST.match(line)) or (in_list and line.startswith(" "))
        above = [above[-1], lines[place]]
        place += 1
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def commands_of(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command of a console block, without prompts and comments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        if words:
            yield words


def check_command(words: list[str], folder: Path) -> None:
    """Check a command as far as it can be without running it.

    Args:
        words: Its program and arguments; FOLDER and its like are names of what is in ``folder``.
        folder: With a small set of specimens under the name FOLDER; the current one.

    Raises:
        Exception: If a program, file, command, option, setting or target is not there.
    """
    while re.fullmatch(r"\w+=\S*", words[0]):  # variables of the shell
        words = words[1:]
    program, *rest = words
    name = Path(program).name
    if name == "hyperspec":
        _check_ours(rest, folder)
    elif name == "make":
        targets = set(re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text()))
        for word in rest:
            assert "=" in word or word in targets, f"the Makefile has no target {word}"
    elif name in ("python", "python3"):
        _check_python(rest)
    elif name == "pip":
        _check_pip(rest)
    else:
        assert name in SHELL, (
            f"a test cannot tell whether `{name}` works: put '<!-- not run: why -->' above the "
            "block, or teach tests/support/doc_blocks.py"
        )


def _check_ours(words: list[str], folder: Path) -> None:
    if words[0] == "train":
        _check_train(words[1:])
        return
    if words in (["--version"], ["--help"]):
        return
    parser = Parser(prog="hyperspec")
    commands = parser.add_subparsers(required=True)
    for module in COMMANDS:
        module.add(commands)
    own, hydra_words = split_words(words)
    parsed, left = parser.parse_known_args(own)
    assert not left, f"hyperspec {words[0]} takes no {left}"
    if hydra_words or getattr(parsed, "hydra_words", None):
        given = [*parsed.hydra_words, *hydra_words]
        if any(word.startswith("data.root=") for word in given):  # those of `hyperspec train`
            _check_train(given)
            return
        _check_data([word for word in given if not word.lstrip("+").startswith("views")], folder)


def _check_data(words: list[str], folder: Path) -> None:
    compose_data(words, folder / "FOLDER")


def _check_train(words: list[str]) -> None:
    """Compose the first job, and each with another word in it, as a sweep checks its jobs."""
    register()
    overlays = any(word.startswith(("-", "experiment=", "search=")) for word in words)
    given = prepare_arguments(words) if overlays else list(words)
    flags = ("-m", "--multirun", "--cfg", "job", "--help", "-h")
    if {"--help", "-h"} & {*given}:
        return
    settings = [word for word in given if word not in flags]
    verbatim = [before == "--config-dir" for before in ["", *settings[:-1]]]
    values = [
        [word] if as_it_is else _values(word)
        for word, as_it_is in zip(settings, verbatim, strict=True)
    ]
    first = [words[0] for words in values]
    if not any(word.startswith("data.root=") for word in settings):
        raise AssertionError(f"hyperspec train {' '.join(words)}: no data.root")
    if "data.split.rotate" in " ".join(first) and "data.split.rotation" not in " ".join(first):
        first.append("data.split.rotation=0")
    to_job(compose_words(first))
    for place, listed in enumerate(values):
        for other in listed[1:]:
            to_job(compose_words([*first[:place], other, *first[place + 1 :]]))


def _values(word: str) -> list[str]:
    """Return a setting with each word that a sweep or search goes through; of numbers the first."""
    if word.startswith(("--", "hydra.searchpath")):
        return [word]
    override: Override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override() or not override.input_line:
        return [word]
    value: Any = override.value()
    listed = value.list if isinstance(value, ChoiceSweep) else [value]
    found = [_plain(one) for one in listed]
    key = override.input_line.partition("=")[0]
    return [f"{key}={one}" for one in (found[:1] + [o for o in found[1:] if isinstance(o, str)])]


def _plain(value: Any) -> Any:
    """Return a value as it is typed, of a range its start."""
    while not isinstance(value, str | int | float | bool | None):
        if isinstance(value, ChoiceSweep):
            value = value.list[0]
        elif isinstance(value, RangeSweep) or hasattr(value, "start"):
            value = value.start
        else:  # a quoted text
            value = value.text
    return value


def _check_python(words: list[str]) -> None:
    if words[0] == "-m":
        assert words[1] in ("venv", "pip", "build", "mkdocs"), f"python -m {words[1]}"
        if words[1] == "pip":
            _check_pip(words[2:])
        return
    script = ROOT / words[0]
    assert script.is_file(), f"there is no {words[0]}"
    text = script.read_text()
    for word in words[1:]:
        flag = word.partition("=")[0]
        assert not flag.startswith("--") or flag in text, f"{words[0]} has no {flag}"


def _check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for word in words:
        named = re.search(r"\[([\w,]+)\]$", word)
        for extra in named[1].split(",") if named else ():
            assert extra in extras, f"there is no extra {extra}"
