"""A parser that says which name was meant."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable
from typing import NoReturn

_CHOICE = re.compile(
    r"argument (?P<what>[^:]+): invalid choice: '(?P<word>.*)' \(choose from (.*)\)"
)
# Words of the config behind a folder are never required, but argparse counts them with it.
_SETTINGS = ", data.KEY=VALUE"


class Parser(argparse.ArgumentParser):
    """Python's parser, whose messages name what is near to a wrong word."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Its options, such as ``--out``."""
        return tuple(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with status 2; a wrong name is one line, without usage."""
        text = message.removesuffix(_SETTINGS)
        wrong = _CHOICE.match(message)
        if wrong is not None:
            choices = [choice.strip().strip("'") for choice in wrong[3].split(",")]
            what = wrong["what"].removeprefix("--").lower()
            text = f"there is no {what} '{wrong['word']}'."
            text += _hint(wrong["word"], choices) or f" Choose from {', '.join(choices)}."
            self.exit(2, f"{self.prog}: error: {text} (`{self.prog} --help`)\n")
        super().error(text)

    def refuse(self, words: list[str]) -> NoReturn:
        """Leave with status 2: these words are none of the parser's."""
        flags = [word for word in words if word.startswith("-")]
        if not flags:
            self.error(f"this command takes no {' '.join(words)}")
        flag = flags[0].partition("=")[0]
        hint = _hint(flag, self.flags)
        self.exit(
            2, f"{self.prog}: error: there is no option {flag}.{hint} (`{self.prog} --help`)\n"
        )


def _hint(word: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(names), 1)
    return f" Did you mean {near[0]}?" if near else ""
