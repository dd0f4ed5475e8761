"""The ``hyperspec`` command: words to calls, and nothing else.

Heavy imports happen inside the commands, so that ``hyperspec --help`` answers at once.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module

from hyperspec import __version__
from hyperspec.cli.commands.options import split_words
from hyperspec.utils.errors import HyperspecError, check_names, in_words

# In the order of a study: make or check cubes, look at them, sweep, compare.
_NAMES = (
    *("synth", "check", "info", "cut", "pack", "export", "views", "bands", "plan"),
    *("evaluate", "embed", "importance", "signatures", "report", "one_shot", "sync", "ui"),
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
    if words[:1] == ["train"]:
        # Hydra has a grammar of its own, so its words pass through untouched.
        from hyperspec.cli.train import main as train

        return train(words[1:])
    words, hydra_words = split_words(words)
    parser = argparse.ArgumentParser(
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
    try:
        check_names([*words, *hydra_words, os.getcwd()])
        parsed = parser.parse_args(words)
        if hydra_words:
            if not hasattr(parsed, "hydra_words"):
                parser.error(f"this command takes no data settings: {' '.join(hydra_words)}")
            parsed.hydra_words += hydra_words
        command: Callable[[argparse.Namespace], int] = parsed.command
        return command(parsed)
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
