"""The ``hyperspec`` command: words to calls, and nothing else.

Heavy imports happen inside the commands, so that ``hyperspec --help`` answers at once.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module

from hyperspec.cli.commands import Commands
from hyperspec.cli.commands.words import split_words
from hyperspec.cli.parser import Parser
from hyperspec.utils.errors import HyperspecError, check_names, in_words
from hyperspec.utils.progress import FLAG, progress, take_flag
from hyperspec.utils.version import __version__

# In the order of a study: make or check cubes, look at them, sweep, compare.
_NAMES = (
    *("demo", "start", "synth", "check", "info", "cut", "pack", "export", "views", "bands", "plan"),
    *("evaluate", "embed", "explore", "importance", "signatures", "report", "results", "one_shot"),
    *("sync", "ui", "options", "completion"),
)
COMMANDS = tuple(import_module(f"hyperspec.cli.commands.{name}") for name in _NAMES)


def _one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Write a warning of ours without the place in the source, which is no use to a user."""
    if category is UserWarning:
        return f"warning: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n{line or ''}"


class _OneLine(logging.Formatter):
    """Write what is logged as warnings are: ``warning: ...``."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {super().format(record)}"


def _parsers() -> tuple[Parser, Commands]:
    """Return the parser of the words, and those of its commands."""
    parser = Parser(
        prog="hyperspec",
        description="Which bands, and how many, carry the signal: "
        "SimCLR sweeps over hyperspectral specimens.",
    )
    parser.add_argument("--version", action="version", version=f"hyperspec {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    commands.add_parser(
        "train", help="train and evaluate; sweeps with -m or an experiment", add_help=False
    )
    for module in COMMANDS:
        module.add(commands)
    for each in (parser, *commands.choices.values()):  # for their help: `main` takes it out
        each.add_argument(FLAG, action="store_true", help="show no progress")
    return parser, commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Args:
        arguments: Words after ``hyperspec``; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.formatwarning = _one_line
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no UTF-8
    words = take_flag(words)
    if words[:1] == ["train"]:
        # Hydra has a grammar of its own, so its words pass through untouched.
        with progress("Starting"):
            from hyperspec.cli.train import main as train

        return train(words[1:])
    if logging.lastResort is not None:  # what writes warnings where nothing was set up
        logging.lastResort.setFormatter(_OneLine())
    words, hydra_words = split_words(words)
    parser, commands = _parsers()
    if not words and not hydra_words:
        parser.print_help()  # who types the name alone wants to know what there is
        return 2
    try:
        check_names([*words, *hydra_words, os.getcwd()])
        if words and words[0].startswith("-") and words[0] not in parser.flags:
            parser.refuse(words[:1])
        parsed, left = parser.parse_known_args(words)
        if left:
            commands.choices[words[0]].refuse(left)
        if hydra_words:
            if not hasattr(parsed, "hydra_words"):
                parser.error(f"this command takes no data settings: {' '.join(hydra_words)}")
            parsed.hydra_words += hydra_words
        command: Callable[[argparse.Namespace], int] = parsed.command
        status = command(parsed)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads has seen enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a program that SIGPIPE ends
    except HyperspecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        text = in_words(error)
        if text is None:
            raise
        print(f"error: {text}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
