"""What every job of a sweep says alike is said once: calibration, hints, controls left out."""

from __future__ import annotations

import logging

_SAID: set[str] = set()


class _Once(logging.Filter):
    """Lets pass what no earlier job of this process has said; what may be a fault always passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line is new."""
        text = record.getMessage()
        if record.levelno > logging.INFO and not text.startswith("hint: "):
            return True
        known = text in _SAID
        _SAID.add(text)
        return not known


def say_once() -> None:
    """Leave out of this process's terminal what earlier jobs said; their log files have all."""
    for handler in logging.getLogger().handlers:
        to_terminal = isinstance(handler, logging.StreamHandler)
        if to_terminal and not isinstance(handler, logging.FileHandler):
            handler.addFilter(_Once())


def forget() -> None:
    """Begin a sweep: its first job says everything."""
    _SAID.clear()
